# SPDX-License-Identifier: Apache-2.0
# pack conda fails, and the process vanishes, at each state-changing call. Each time the package that was there is the old
# one or the new one, whole; the exit code says which; the same command then succeeds and leaves nothing behind.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

mkdir -p st/bin
echo old >st/bin/x
pack()
{
	"$SLIPWAY" -q pack conda -o out --name x --version 1 --noarch generic st
}
pack >/dev/null || exit 1
cp out/x-1-0.conda old.conda
echo new >st/bin/x
FAULT=count:calls pack >/dev/null
calls=$(tail -n 1 calls)
cp out/x-1-0.conda new.conda

# judge RC
judge()
{
	if cmp -s out/x-1-0.conda new.conda; then
		now=new
	elif cmp -s out/x-1-0.conda old.conda; then
		now=old
	else
		echo "the package is neither old nor new"
		return 1
	fi
	case $1-$now in
	0-new | 99-* | 1-old | 5-new) ;;
	*) echo "exit status $1, the package is $now"; return 1 ;;
	esac
}

# fault KIND N
fault()
{
	cp old.conda out/x-1-0.conda
	FAULT=$1:$2 pack >said 2>&1
	judge $? || { cat said; return 1; }
	pack >said 2>&1 || { cat said; return 1; }
	ls -A out
	[ "$(ls -A out)" = x-1-0.conda ] && cmp out/x-1-0.conda new.conda
}

t 'makes calls that can fail' test "$calls" -gt 8
n=1
while [ "$n" -le "$calls" ]; do
	t "call $n fails" fault fail "$n"
	t "stops at call $n" fault stop "$n"
	n=$((n + 1))
done

done_testing
