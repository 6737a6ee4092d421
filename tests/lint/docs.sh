# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
check=$SOURCE_ROOT/tools/check-docs

t 'what documentation names is there' "$check" "$SOURCE_ROOT"

mkdir -p p/doc/formats p/doc/man p/src/cmd
echo '[a](a.md) [web](http://nowhere/x.md)' >p/doc/formats/README.md
echo 'see src/cmd/x.c' >p/doc/formats/a.md
echo '*--good* _N_' >p/doc/man/slipway-x.1.scd
echo "'man/slipway-x.1.scd'" >p/doc/meson.build
echo "{'g', \"good\", CMD_FLAG, &g}," >p/src/cmd/x.c
t 'a small project passes' "$check" p
echo '[b](b.md)' >p/README.md
t 'a broken link' must_fail 1 "$check" p
t 'is named' has "README.md: no 'b.md'" out
rm p/README.md
echo 'doc/formats/gone.md' >p/src/cmd/y.h
t 'a page that is gone' must_fail 1 "$check" p
t 'is named with who names it' has "src/cmd/y.h: no 'doc/formats/gone.md'" out
rm p/src/cmd/y.h
touch p/doc/formats/b.md p/doc/man/slipway-y.1.scd
echo '{0, "goo", CMD_TEXT, &h},' >>p/src/cmd/x.c
t 'what is not listed' must_fail 1 "$check" p
t 'a format' has "'b.md' is not listed" out
t 'a man page' has "'man/slipway-y.1.scd' is not listed" out
t 'an option' has "'--goo' is in no man page" out

done_testing
