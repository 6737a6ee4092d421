#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Publishing into a signed channel, dropping from it, signing it, pinning its root and following it fail, and the process vanishes, at each of their state-changing
# calls in turn. Each time: a host that knew the channel, and one that has just pinned it, find the old state or the new one, signed and whole, each
# package that it names included; the same command then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"

keeper()
{
	"$SLIPWAY" -q --root "$T/keeper" channel "$@"
}

small_package x 1
small_package x 2
keeper publish first x-1-0.tar.bz2 || exit 1
keeper sign --create first || exit 1
cp -r first both
keeper publish both x-2-0.tar.bz2 || exit 1
"$SLIPWAY" -q --root "$T/known" channel trust "$T/c" first/tuf/metadata/1.root.json || exit 1

# begin FOLDER: the channel is as that one
begin()
{
	rm -rf c host && cp -r "$1" c && cp -r known host
}

# whole: what a host finds is there, byte for byte
whole()
{
	"$SLIPWAY" -q --root "$T/$1" channel refresh "$T/c" || return 1
	"$SLIPWAY" -q --root "$T/$1" solve --json -c "$T/c" x >solved || { cat solved; return 1; }
	whole_fn=$(sed -n 's/.*"fn": *"\([^"]*\)".*/\1/p' solved | head -n 1)
	whole_sha=$(sed -n 's/.*"sha256": *"\([0-9a-f]*\)".*/\1/p' solved | head -n 1)
	[ "$(sha256sum <"c/noarch/$whole_fn" | cut -d' ' -f1)" = "$whole_sha" ] || { echo "$whole_fn is not as it was signed"; return 1; }
}

found()
{
	whole host || return 1
	rm -rf fresh
	"$SLIPWAY" -q --root "$T/fresh" channel trust "$T/c" c/tuf/metadata/1.root.json && whole fresh
}

publish_before() { begin first && whole host; }
publish_op() { keeper publish c x-2-0.tar.bz2; }
publish_after() { found && publish_op && found && [ "$whole_fn" = x-2-0.tar.bz2 ]; }

drop_before() { begin both && whole host; }
drop_op() { keeper yank --drop c noarch/x-2-0.tar.bz2; }
drop_after()
{
	found || return 1
	[ ! -e c/noarch/x-2-0.tar.bz2 ] || keeper publish c x-2-0.tar.bz2
	keeper sign c && found
}

sign_before() { begin first && whole host && cp both/noarch/repodata.json* both/noarch/*.bz2 c/noarch/; }
sign_op() { keeper sign c; }
sign_after() { found && sign_op && found && [ "$whole_fn" = x-2-0.tar.bz2 ]; }

pin_before() { begin both && rm -rf host; }
pin_op() { "$SLIPWAY" -q --root "$T/host" channel trust "$T/c" first/tuf/metadata/1.root.json; }
pin_after() { pin_op && whole host; }

# a mirror that follows: at any moment its tree is a signed channel, of before or of now
follow_before()
{
	rm -rf c up host && cp -r follows c && cp -r both up && cp -r known host && whole host
}
follow_op() { "$SLIPWAY" -q --root "$T/keeper" channel sync c; }
follow_after()
{
	found && follow_op && found && [ "$whole_fn" = x-2-0.tar.bz2 ] && cmp up/tuf/metadata/timestamp.json c/tuf/metadata/timestamp.json
}
cp -r first up
keeper create c --kind conda --from "$T/up" --tuf-root first/tuf/metadata/1.root.json && keeper sync c && mv c follows || exit 1

# sweep OPERATION MODE
sweep()
{
	"$1_before" || return 1
	rm -f count
	FAULT=count:$T/count "$1_op" || { echo "fails without a fault"; return 1; }
	calls=$(cat count)
	n=1
	while [ "$n" -le "$calls" ]; do
		"$1_before" || return 1
		FAULT=$2:$n "$1_op" >said 2>&1
		code=$?
		case $2:$code in
		stop:99 | fail:[01345]) ;;
		*)
			echo "$2:$n: exit status $code"
			cat said
			return 1
			;;
		esac
		"$1_after" || { echo "$2:$n"; cat said; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

for mode in fail stop; do
	for op in publish drop sign pin follow; do
		t "$op, $mode at each call" sweep $op $mode
	done
done

done_testing
