# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# A job of opam's CI, in its client and in the runners of its steps: calls fail, and the process vanishes. Each time: it says that it failed, or is done; the
# same job then builds what is missing to its end, finds the rest, and a third time everything; nothing half-made is left. (All calls of builds: build.sh.)
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/opam-image.sh"
BUILDS=$SLIPWAY_ROOT/build
mkdir -p repo/packages
echo 'opam-version: "2.0"' >repo/repo

# ci NUMBER: of a package that no job has built yet
ci()
{
	"$SLIPWAY" opam ci --repo repo "p$1.1"
}
package()
{
	rm -rf repo/packages/*
	mkdir -p "repo/packages/p$1/p$1.1"
	printf 'opam-version: "2.0"\nbuild: ["sh" "-c" "echo %s >x"]\ninstall: ["cp" "x" "%%{lib}%%/p%s"]\n' "$1" "$1" >"repo/packages/p$1/p$1.1/opam"
}
idle()
{
	[ -z "$(ls -A "$BUILDS/run" 2>/dev/null)" ] && [ -z "$(ls -A "$BUILDS/tmp" 2>/dev/null)" ]
}

# fault MODE N
number=0
fault()
{
	number=$((number + 1))
	package $number
	FAULT=$1:$2 timeout 120 "$SLIPWAY" opam ci --repo repo "p$number.1" >said 2>&1
	rc=$?
	case $rc in
	0) grep -qx 'Job succeeded' said || { cat said; return 1; } ;;
	99) [ "$1" = stop ] || { cat said; return 1; } ;;
	1) [ -s said ] || { echo 'fails without a word'; return 1; } ;;
	*) echo "exit status $rc"; cat said; return 1 ;;
	esac
	ci $number >again 2>&1 && grep -qxF -- "-> installed p$number.1" again && grep -qx 'Job succeeded' again || { echo 'the same job again:'; cat said again; return 1; }
	ci $number >again 2>&1 && ! grep -q '> saved as ' again || { echo 'is not there:'; cat again; return 1; }
	await idle || { ls -lR "$BUILDS/run" "$BUILDS/tmp"; return 1; }
	[ "$rc" != 0 ] && met=$((met + 1))
	return 0
}

package 0
rm -f count
FAULT=count:$T/count ci 0 >said 2>&1 || { cat said; echo 'Bail out! no job'; exit 1; }
# the client and each runner count for themselves: the longest of them
calls=$(sort -n count | tail -n 1)
echo "# $(tr '\n' ' ' <count)"
met=0
STEP=${STEP:-$((calls / 5 + 1))}
for mode in fail stop; do
	n=$((met % 3 + 1))
	while [ "$n" -le "$calls" ]; do
		t "$mode at call $n of $calls" fault $mode "$n"
		n=$((n + STEP))
	done
done
t 'something was met' [ "$met" -gt 2 ]
done_testing
