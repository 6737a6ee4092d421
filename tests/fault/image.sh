#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Importing, removing and giving out an image fail, and the process vanishes, at each of their state-changing calls in turn, those inside of the
# root too. Each time: the image is there whole or not at all, nothing half made stays, and the same command then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3 tar

mkdir -p one/etc two/etc
echo 1 >one/etc/a && echo 1 >one/gone && ln -s a one/etc/l && ln one/etc/a one/h
echo 2 >two/etc/b && : >two/.wh.gone
for d in one two; do tar -C $d --sort=name --mtime=@9 --numeric-owner --owner=0 --group=0 -cf $d.tar .; done
python3 "$SOURCE_ROOT/tests/lib/oci.py" layout lay tag=1 one.tar two.tar >/dev/null || exit 1
"$SLIPWAY" -q image import base one.tar 2>err ||
	{ grep -q 'cannot be unpacked here' err && skip_all "kernel: $(cat err)"; cat err; exit 1; }
cp -a "$SLIPWAY_ROOT" kept
"$SLIPWAY" -q image import lay 2>/dev/null && "$SLIPWAY" -q build export lay:1 -o lay.want && "$SLIPWAY" -q build export base -o base.want || exit 1

begin()
{
	rm -rf "$SLIPWAY_ROOT" out.tar* && cp -a kept "$SLIPWAY_ROOT"
}

# whole NAME WANTED: it is as it should be, or not there
whole()
{
	"$SLIPWAY" -q image show "$1" >shown 2>&1 || { grep -q "no image '$1' here" shown && return 0; cat shown; return 1; }
	"$SLIPWAY" -q build export "$1" -o got.tar && cmp got.tar "$2"
}
# clean: what was half made is gone after the next command
clean()
{
	left=$(find "$SLIPWAY_ROOT/build/tmp" "$SLIPWAY_ROOT/build/image" -mindepth 1 ! -name '*.json' ! -name .lock)
	[ -z "$left" ] || { echo "left: $left"; return 1; }
}

tar_op()
{
	"$SLIPWAY" -q image import new one.tar
}
tar_after()
{
	whole new base.want && whole base base.want && tar_op && clean && whole new base.want && "$SLIPWAY" -q image show new >/dev/null
}
oci_op()
{
	"$SLIPWAY" -q image import lay
}
oci_after()
{
	whole lay:1 lay.want && whole base base.want && oci_op && clean && "$SLIPWAY" -q image show lay:1 >/dev/null && whole lay:1 lay.want
}
replace_op()
{
	"$SLIPWAY" -q image import base lay
}
replace_after()
{
	"$SLIPWAY" -q build export base -o got.tar && { cmp -s got.tar base.want || cmp got.tar lay.want; } && replace_op && clean && whole base lay.want
}
remove_op()
{
	"$SLIPWAY" -q image remove base
}
remove_after()
{
	whole base base.want && "$SLIPWAY" -q image import base one.tar && clean && remove_op && clean
}
export_op()
{
	"$SLIPWAY" -q build export base --format oci -o out.tar
}
export_after()
{
	{ [ ! -e out.tar ] || tar -tf out.tar >/dev/null; } && whole base base.want && export_op && tar -tf out.tar >/dev/null
}

# sweep MODE NAME: a child's calls are counted on from its parent's, so there are more than the parent knows: until a row of them does nothing
sweep()
{
	n=1 idle=0 hit=0
	while [ $idle -lt 12 ]; do
		begin
		rc=0
		FAULT=$1:$n "$2_op" >said 2>&1 || rc=$?
		case $1:$rc in
		stop:0 | fail:0) idle=$((idle + 1)) ;;
		stop:99) idle=0 hit=$((hit + 1)) ;;
		stop:1 | fail:1 | fail:5) idle=0 hit=$((hit + 1)) && { [ -s said ] || { echo "$1:$n fails without a word"; return 1; }; } ;;
		*) echo "$1:$n: exit status $rc"; cat said; return 1 ;;
		esac
		"$2_after" >judged 2>&1 || { echo "$1:$n (exit status $rc: $(cat said))"; cat judged; return 1; }
		n=$((n + 1))
	done
	[ $hit -ge 3 ] || { echo "only $hit calls are reached"; return 1; }
	echo "$hit of $n calls"
}

for mode in fail stop; do
	for operation in tar oci replace remove export; do
		t "$operation, $mode" sweep "$mode" "$operation"
	done
done
done_testing
