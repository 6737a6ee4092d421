# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need shellcheck
check=$SOURCE_ROOT/tools/check-shell

t 'shellcheck is content with every script' "$check" "$SOURCE_ROOT"

mkdir -p tree/tools tree/tests
printf '#!/bin/sh\necho "$1"\n' >tree/tools/good
t 'a good script passes' "$check" tree
printf '#!/bin/sh\nrm -rf $1/*\n' >tree/tools/bad
t 'sees a bad script' must_fail 1 "$check" tree
rm tree/tools/bad
printf 'echo $((1 +))\n' >tree/tests/bad.sh
t 'sees a bad test' must_fail 1 "$check" tree

done_testing
