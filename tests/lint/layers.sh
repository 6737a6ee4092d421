# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/tree.sh"
check=$SOURCE_ROOT/tools/check-layers

t 'the sources keep to tools/layers' "$check" "$SOURCE_ROOT"

tree
t 'a good tree passes' "$check" tree

# breaks PATTERN: the check fails on the tree and says PATTERN
breaks()
{
	must_fail 1 "$check" tree && has "$1" out
}

put src/pkg/up.c '#include "cmd/cmd.h"'
t 'sees an upward include' breaks "src/pkg/up.c:2: 'pkg' must not include 'cmd'"
tree
put src/cmd/x.c '#include "pkg/inner.h"'
t 'sees a private header' breaks "'pkg/inner.h' is private to 'pkg'"
tree
put src/pkg/x.c '#include <stdio.h>' '#include "base/str.h"' '#include "base/str.h"'
t 'sees a double include' breaks "included twice"
tree
put src/pkg/x.c '#include "nowhere/x.h"'
t 'sees an include of an unknown module' breaks "of no module"
tree
put src/pkg/x.c '#include "inner.h"'
t 'sees an include without its module' breaks "as MODULE/NAME.h"
tree
mkdir tree/src/new
put src/new/new.c 'int x;'
t 'sees an unknown module' breaks "'new' is not in tools/layers"
tree
put src/pkg/x.c '#include "base/str.h"' '#include <stdio.h>'
t 'sees includes out of order' breaks "stands too late"
tree
echo 'pkg2: cmd2' >>tree/tools/layers
t 'sees a table that names what is not above' breaks "not above it"
tree
mkdir tree/doc
printf '| module | uses |\n| --- | --- |\n| `pkg` | base cmd | x |\n' >tree/doc/architecture.md
t 'sees documentation that differs' breaks "uses 'base cmd' here and 'base'"
t 'sees a module without documentation' has "no row for module 'base'" out

done_testing
