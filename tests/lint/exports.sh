# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
check=$SOURCE_ROOT/tools/check-exports

t 'no global that could be static' "$check" "$SOURCE_ROOT" "$BUILD_ROOT"

# archive LINE...: a build with a library of one object and a user of used()
archive()
{
	rm -rf b
	mkdir -p b/src b/tests/x.p
	printf '%s\n' "$@" >b/lib.c
	echo 'void used(void); int main(void) { used(); }' >b/user.c
	cc -c -o b/lib.o b/lib.c && cc -c -o b/tests/x.p/user.o b/user.c && ar rcs b/src/libslipway.a b/lib.o && rm b/lib.o
}

archive 'void used(void) { }' 'static int s; int *g(void); void unused(void) { *g() = s; }'
t 'sees a global without a user' must_fail 1 "$check" . b /dev/null
t 'names it and its object' has "^lib.o: 'unused' is used in no other object" out
t 'what a test uses may stay' hasnt "'used'" out
echo 'unused kept for this test' >allowed
t 'the list of exceptions excepts' "$check" . b "$T/allowed"
archive 'void used(void) { }' 'static int s(void) { return 1; }' 'int (*volatile p)(void);'
t 'sees data too' must_fail 1 "$check" . b /dev/null
mkdir -p src/pkg
echo 'int pkg_unused(void);' >src/pkg/pkg.h
echo 'int inner_unused(void);' >src/pkg/inner.h
archive 'void used(void) { }' 'int pkg_unused(void) { return 1; }'
t 'a public header may promise' "$check" . b /dev/null
t 'but not strictly' must_fail 1 "$check" --strict . b /dev/null
archive 'void used(void) { }' 'int inner_unused(void) { return 1; }'
t 'a private header may not' must_fail 1 "$check" . b /dev/null
archive 'void used(void) { }'
t 'a library without one passes' "$check" . b /dev/null

done_testing
