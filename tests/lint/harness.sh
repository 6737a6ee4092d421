# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
# The two harnesses, tried on tests that fail, crash, skip and hang on.

cat >unit.c <<'X'
#include "lib/test.h"
TEST(passes) { CHECK(1); CHECK_INT(1, 1); CHECK_STR("a", "a"); CHECK_STR(NULL, NULL); }
TEST(fails_check) { CHECK(1 == 2); }
TEST(fails_int) { CHECK_INT(1, 2); }
TEST(fails_str) { CHECK_STR("a", "b"); }
TEST(fails_null) { CHECK_STR(NULL, "b"); }
TEST(crashes) { *(volatile int *)NULL = 1; }
TEST(exits) { _exit(3); }
TEST(skips) { SKIP("no %s", "reason"); }
TEST(shared) { test_shared("data/no such file"); CHECK(0); }
TEST(leaves_files)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/dir", test_tmp());
	CHECK_INT(mkdir(path, 0500), 0);
	FILE *f = fopen("tmp-path", "w");
	CHECK(f);
	fputs(test_tmp(), f);
	fclose(f);
}
TEST(last_passes) { CHECK_INT(access(test_source("meson.build"), R_OK), 0); }
X
build_unit()
{
	cc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -I"$SOURCE_ROOT/tests" -DTEST_SOURCE_ROOT="\"$SOURCE_ROOT\"" -o unit unit.c
}
t 'builds' build_unit
t 'fails as a whole' must_fail 1 ./unit
t 'a good test passes' has '^ok 1 passes$' out
t 'a false condition fails' has '^not ok 2 fails_check$' out
t 'says the condition and where' has '^# unit.c:3: 1 == 2$' err
t 'another number fails' has '^not ok 3 fails_int$' out
t 'says both numbers' has 'is 1, not 2' err
t 'another string fails' has '^not ok 4 fails_str$' out
t 'NULL is not a string' has '^not ok 5 fails_null$' out
t 'a crash fails' has '^not ok 6 crashes$' out
t 'names the signal' has '^# crashes: killed by signal 11' err
t 'another exit code fails' has '^not ok 7 exits$' out
t 'a skip has its reason' has '^ok 8 skips # SKIP no reason$' out
t 'missing data skip' has '^ok 9 shared # SKIP no shared data' out
t 'goes on to the end' has '^ok 11 last_passes$' out
t 'prints its plan' has '^1..11$' out
t 'removes the folder of a test' must_fail 1 test -e "$(cat tmp-path)"
t 'runs the tests named alone' runs ./unit passes
t 'two of them' has '^1..2$' out
t 'a word that no test has is an error' must_fail 1 ./unit nothing

cat >script.sh <<'X'
. "$SOURCE_ROOT/tests/lib/test.sh"
t 'true passes' true
t 'false fails' sh -c 'echo why; exit 3'
t 'wanted code' must_fail 3 sh -c 'exit 3'
t 'other code' must_fail 3 sh -c 'exit 4'
t 'no failure' must_fail 3 true
t 'crash' must_fail 139 sh -c 'kill -SEGV $$'
t 'sanitizer' must_fail 99 sh -c 'exit 99'
t 'skips itself' sh -c 'echo no luck; exit 77'
skip 'told to' 'no reason'
t 'prints' prints hello echo hello
t 'prints otherwise' prints hello echo bye
t 'hasnt' hasnt x err
echo "$T" >"$1"
done_testing
X
t 'a script fails as a whole' must_fail 1 sh script.sh "$T/where"
t 'true passes' has '^ok 1 true passes$' out
t 'false fails' has '^not ok 2 false fails$' out
t 'shows its output' has '^# why$' err
t 'the wanted code passes' has '^ok 3 ' out
t 'another code fails' has '^not ok 4 ' out
t 'success is a failure' has '^not ok 5 ' out
t 'a crash is no failure as wanted' has '^not ok 6 ' out
t 'nor is a sanitizer report' has '^not ok 7 ' out
t 'exit code 77 skips' has '^ok 8 skips itself # SKIP no luck$' out
t 'skip skips' has '^ok 9 told to # SKIP no reason$' out
t 'prints compares' has '^ok 10 ' out
t 'prints differs' has '^not ok 11 ' out
t 'hasnt' has '^ok 12 ' out
t 'prints its plan at the end' has '^1..12$' out
t 'its folder is gone' must_fail 1 test -e "$(cat where)"
printf '. "$SOURCE_ROOT/tests/lib/test.sh"\nneed no-such-command\n' >skip.sh
t 'a whole script is skipped' runs sh skip.sh
t 'with its reason' has '^1..0 # SKIP no no-such-command$' out

# what runs the tests ends with an error of its own where two have one name
names()
{
	meson test -C "$BUILD_ROOT" --list 2>/dev/null | sort | uniq -d >twice
	[ ! -s twice ] || { cat twice; return 1; }
}
t 'no test is listed twice' names
done_testing
