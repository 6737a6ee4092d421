# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/tree.sh"
need clang-format-14
check=$SOURCE_ROOT/tools/check-format

t 'the sources are formatted' "$check" "$SOURCE_ROOT"

tree
t 'a good tree passes' "$check" tree
put src/pkg/x.c 'int f( void ) {' '  return 0; }'
t 'sees other formats' must_fail 1 "$check" tree
t 'mends them' "$check" --fix tree
t 'and is content then' "$check" tree

done_testing
