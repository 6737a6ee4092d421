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

done_testing
