#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sync fails, and its process vanishes, at each of its state-changing calls in turn: the first one of a channel, and one that brings
# a change. Each time: what clients see is the state of before or the new one, whole, each package that is there has the bytes that
# metadata name, and the same sync then brings all of it.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

small_package a 1
small_package b 1
"$SLIPWAY" -q channel publish up a-1-0.tar.bz2 b-1-0.tar.bz2
cp -r up up1
small_package a 2
"$SLIPWAY" -q channel publish up a-2-0.tar.bz2
"$SLIPWAY" -q channel yank up noarch/b-1-0.tar.bz2
cp -r up up2
rm -rf up

"$SLIPWAY" -q mirror init empty --name m --host h
sed -i 's/^#bulkBackoffFactor: .*/bulkBackoffFactor: 0/; s/^#bulkParallel: .*/bulkParallel: 1/' empty/mirror.yaml
mkdir up
"$SLIPWAY" -q channel create empty/c --kind conda --platform noarch --from up --download HISTORIC

# sees ALLOWED...: the metadata that clients see are none, or those of one of the states, and agree with each other and with what is there
sees()
{
	python3 - M/content/c "$@" <<'END'
import hashlib, json, os, subprocess, sys
tree, states = sys.argv[1], sys.argv[2:]
path = os.path.join(tree, "noarch/repodata.json")
if not os.path.exists(path):
    assert "none" in states, "there are no metadata"
    sys.exit()
text = open(path, "rb").read()
names = [s for s in states if s != "none" and open(s + "/noarch/repodata.json", "rb").read() == text]
assert names, "metadata of no state"
doc = json.loads(text)
for fn, r in doc["packages"].items():
    data = open(os.path.join(tree, "noarch", fn), "rb").read()
    assert hashlib.sha256(data).hexdigest() == r["sha256"], fn
if "none" in states and not os.path.exists(path + ".zst"):
    sys.exit()  # a pointer for itself is whole; clients that ask for this one take the other
packed = subprocess.run(["zstd", "-dc", os.path.join(tree, "noarch/repodata.json.zst")], capture_output=True).stdout
assert any(s != "none" and open(s + "/noarch/repodata.json", "rb").read() == packed for s in states), "packed metadata of no state"
END
}

none_yet()
{
	rm -rf M up && cp -r empty M && cp -r up1 up
}

one_held()
{
	rm -rf M up && cp -r held M && cp -r up2 up
}

after_first()
{
	sees none up1 || return 1
	"$SLIPWAY" -q channel sync M/c && sees up1 && [ -z "$(ls M/content/c/.slipway/partial)" ]
}

after_change()
{
	sees up1 up2 || return 1
	"$SLIPWAY" -q channel sync M/c && sees up2 && [ -z "$(ls M/content/c/.slipway/partial)" ]
}

# sweep MODE BEFORE AFTER
sweep()
{
	mode=$1 before=$2 after=$3
	$before || return 1
	rm -f count
	FAULT=count:$T/count "$SLIPWAY" -q channel sync M/c || { echo "fails without a fault"; return 1; }
	calls=$(awk '{ n += $1 } END { print n }' count)
	[ "$calls" -ge 20 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		$before || return 1
		FAULT=$mode:$n "$SLIPWAY" -q channel sync M/c >said 2>&1
		rc=$?
		case $mode:$rc in
		stop:99 | fail:0) ;;
		fail:1) [ -s said ] || { echo "call $n of $calls fails without a word"; return 1; } ;;
		*) echo "call $n of $calls: exit status $rc"; cat said; return 1 ;;
		esac
		$after || { echo "after $mode at call $n of $calls"; cat said; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

command -v zstd >/dev/null || skip_all 'no zstd'
none_yet
"$SLIPWAY" -q channel sync M/c
cp -r M held
t 'the first sync is killed at each call' sweep stop none_yet after_first
t 'the first sync fails at each call' sweep fail none_yet after_first
t 'a change is killed at each call' sweep stop one_held after_change
t 'a change fails at each call' sweep fail one_held after_change
done_testing
