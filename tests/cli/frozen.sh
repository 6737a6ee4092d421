# SPDX-License-Identifier: Apache-2.0
# conda-meta/frozen (CEP 22): nothing changes an environment that has it, unless told to.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2

small_package x 1
small_package x 2
runs "$SLIPWAY" channel publish ./c x-1-0.tar.bz2 x-2-0.tar.bz2
t 'create' "$SLIPWAY" env create -n e -c ./c x=1
t 'update' "$SLIPWAY" env update -n e x=2
"$SLIPWAY" env export -n e >e.spr
mark=$SLIPWAY_ROOT/env/e/current/conda-meta/frozen
echo '{"message": "runs the beamline"}' >"$mark"

t 'update refuses' must_fail 1 "$SLIPWAY" env update -n e x=1
t 'with the reason' has "'e' is frozen: runs the beamline; --override-frozen" err
t 'apply refuses' must_fail 1 "$SLIPWAY" apply e.spr -n e
t 'rollback refuses' must_fail 1 "$SLIPWAY" install rollback -n e
t 'remove refuses' must_fail 1 "$SLIPWAY" env remove -n e
t 'reading goes on' runs "$SLIPWAY" env packages -n e
t 'nothing changed' has '^x  *2 ' out
: >"$mark"
t 'an empty mark refuses too' must_fail 1 "$SLIPWAY" env update -n e x=1
t 'in its own words' has "'e' is frozen; --override-frozen" err
echo '{"message":' >"$mark"
t 'so does one that cannot be read' must_fail 1 "$SLIPWAY" env remove -n e

t 'update, told to' "$SLIPWAY" env update -n e --override-frozen x=1
t 'the mark goes along' must_fail 1 "$SLIPWAY" env update -n e x=2
t 'and with a sync' "$SLIPWAY" apply e.spr -n e --sync --override-frozen
t 'it does too' must_fail 1 "$SLIPWAY" env update -n e x=1
rm "$mark"
t 'without it all is as ever' "$SLIPWAY" env update -n e x=1
t 'remove' "$SLIPWAY" env remove -n e

done_testing
