# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/tree.sh"
check=$SOURCE_ROOT/tools/check-headers

t 'each header compiles alone' "$check" "$SOURCE_ROOT" "$BUILD_ROOT"

tree
t 'a good tree passes' "$check" tree
put src/pkg/bad.h '#pragma once' 'size_t f(void);'
t 'sees a header that needs another' must_fail 1 "$check" tree
t 'names it' has 'src/pkg/bad.h: does not compile alone' out
tree
put src/pkg/bad.h 'int f(void);'
t 'sees a missing #pragma once' must_fail 1 "$check" tree
t 'says so' has "src/pkg/bad.h: no '#pragma once'" out

done_testing
