# SPDX-License-Identifier: Apache-2.0
# Who asks a mirror for a file does not wait behind bulk downloads, be it held or on its way from the same upstream: medians with bulk
# downloads at their limit beside those without. A short run of tests/bench/foreground, which prints the figures.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
t 'a limit of 100 Mbit/s' python3 "$SOURCE_ROOT/tests/bench/foreground" --slipway "$SLIPWAY" --seconds 2 --files 20 --bytes 4000000 --bound 4
t 'no limit at all' python3 "$SOURCE_ROOT/tests/bench/foreground" --slipway "$SLIPWAY" --seconds 2 --files 100 --bytes 4000000 --mbit 0 --bound 4
done_testing
