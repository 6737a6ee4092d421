# SPDX-License-Identifier: Apache-2.0
# An environment made of a list of URLs (CEP 23): what it has was asked for.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2

small_package x 1
small_package x 2
small_package y 1
t 'publish' "$SLIPWAY" channel publish ./c x-1-0.tar.bz2 x-2-0.tar.bz2 y-1-0.tar.bz2
printf '@EXPLICIT\n%s/c/noarch/x-1-0.tar.bz2\n' "$T" >list
t 'create' "$SLIPWAY" env create -n e -f list
t 'an update adds to it' "$SLIPWAY" env update -n e -c ./c y
t 'packages' runs "$SLIPWAY" env packages -n e
t 'what was there stays, as it was' has '^x  *1 ' out
t 'beside what is new' has '^y  *1 ' out
t 'it can be updated by its name' "$SLIPWAY" env update -n e x
t 'packages' runs "$SLIPWAY" env packages -n e
t 'to the newest' has '^x  *2 ' out
t 'and removed' "$SLIPWAY" env update -n e --remove x
t 'packages' runs "$SLIPWAY" env packages -n e
t 'is gone' hasnt '^x ' out

# -- locks that do not fit together, as after a merge by hand
. "$SOURCE_ROOT/tests/lib/package.sh"
for p in "a 1 b>=2 __glibc>=1" 'b 1' 'b 2'; do
	mkdir -p stage/share
	echo "$p" >"stage/share/${p%% *}"
	# shellcheck disable=SC2086
	package stage $p
done
t 'packages that need each other' "$SLIPWAY" channel publish ./d a-1-0.tar.bz2 b-1-0.tar.bz2 b-2-0.tar.bz2
t 'create' "$SLIPWAY" env create -n ab -c ./d a
t 'and one with the older' "$SLIPWAY" env create -n old -c ./d b=1
"$SLIPWAY" env export -n ab >ab.spr
"$SLIPWAY" env export -n old >old.spr
{ grep -v '^package.*"name":"b"' ab.spr | grep -v '^requested b '; grep '^package' old.spr; } >older.spr
grep -v '^package.*"name":"b"' ab.spr | grep -v '^requested b ' >alone.spr
t 'a lock as it was' runs "$SLIPWAY" apply ab.spr -n copy
t 'one with another version is refused' must_fail 1 "$SLIPWAY" apply older.spr -n older
t 'with what needs what' has "a 1 needs 'b>=2': the lock has b 1" err
t 'a dry run refuses it too' must_fail 1 "$SLIPWAY" apply older.spr -n older --dry-run
t 'one that lacks a package' must_fail 1 "$SLIPWAY" apply alone.spr -n alone
t 'is refused' has "a 1 needs 'b>=2': the lock has none" err
t 'nothing was made' must_fail 1 "$SLIPWAY" env packages -n alone
t 'a host that lacks something' must_fail 1 env CONDA_OVERRIDE_GLIBC= "$SLIPWAY" apply ab.spr -n host
t 'is told so' has "a 1 needs '__glibc>=1': this host has none" err
printf '@EXPLICIT\n%s/d/noarch/a-1-0.tar.bz2\n' "$T" >a.list
t 'a list of URLs is done as it says' runs "$SLIPWAY" apply a.list -n list
t 'with a warning' has "a 1 needs 'b>=2': the lock has none" err

done_testing
