# SPDX-License-Identifier: Apache-2.0
# The index of an opam repository is made, or brought up to date, while any one call fails or the process stops there. Each time: what was held can
# be read, the next refresh has everything, and nothing half-made stays behind.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

# opam_file NAME.VERSION TEXT
opam_file()
{
	mkdir -p "repo/packages/${1%%.*}/$1" && printf 'opam-version: "2.0"\n%s\n' "$2" >"repo/packages/${1%%.*}/$1/opam"
}

refresh()
{
	"$SLIPWAY" --root root channel refresh repo
}

# holds PACKAGES [OPTION]: so many are found, and the index is whole
holds()
{
	if ! "$SLIPWAY" --root root ${2:+"$2"} channel refresh repo >holds.out 2>&1 ||
		! grep -Eq "^repo +opam +$1 +[0-9]+ +0\$" holds.out; then
		cat holds.out
		return 1
	fi
}

old_repo()
{
	rm -rf repo root
	opam_file a.1 'depends: ["b"]'
	opam_file b.1 ''
	"$SLIPWAY" --root root -q channel add opam ./repo --name repo
}

before_first()
{
	old_repo
}

after_first()
{
	holds 2 && clean
}

before_update()
{
	old_repo && refresh >/dev/null && opam_file a.2 'depends: ["b" "c"]' && opam_file c.1 ''
}

after_update()
{
	# the old one or the new
	holds 2 --offline || holds 4 --offline || { echo "what was held is lost"; return 1; }
	holds 4 && clean
}

# a file of texts that has grown old is replaced
before_renewal()
{
	old_repo && refresh >/dev/null || return 1
	for _ in 1 2 3 4; do
		opam_file a.1 "description: \"$(head -c 60000 /dev/urandom | base64 -w 0)\""
		refresh >/dev/null || return 1
	done
	opam_file c.1 ''
}

after_renewal()
{
	holds 2 --offline || holds 3 --offline || { echo "what was held is lost"; return 1; }
	holds 3 && opam_file d.1 '' && holds 4 && clean
}

clean()
{
	if [ "$(find root/index -name '*.texts' | wc -l)" != 1 ] || find root/index -name '*.tmp' | grep -q .; then
		find root/index
		return 1
	fi
}

# sweep MODE WHAT
sweep()
{
	"before_$2" || return 1
	rm -f count
	FAULT=count:$T/count refresh >/dev/null || { echo "fails without a fault"; return 1; }
	calls=$(cat count)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		"before_$2" || return 1
		rc=0
		FAULT=$1:$n refresh >said 2>&1 || rc=$?
		case $1:$rc in
		stop:99 | fail:0 | fail:1 | fail:4) ;;
		*) echo "$1:$n: exit status $rc"; cat said; return 1 ;;
		esac
		[ "$rc" = 0 ] || [ "$1" = stop ] || [ -s said ] || { echo "$1:$n: fails without a word"; return 1; }
		"after_$2" || { echo "$1:$n of $calls"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

for mode in fail stop; do
	for what in first update renewal; do
		t "$what, $mode" sweep $mode $what
	done
done
done_testing
