# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For tests of tools/: small source trees that break one rule.

# tree: a fresh $T/tree that satisfies every rule; the tests then break one.
tree()
{
	rm -rf "$T/tree"
	mkdir -p "$T/tree/src/base" "$T/tree/src/pkg" "$T/tree/src/cmd" "$T/tree/tools" "$T/tree/tests"
	printf '# SPDX-License-Identifier: Apache-2.0\nbase:\npkg: base\ncmd: base pkg\nmain: base cmd\n' >"$T/tree/tools/layers"
	cp "$SOURCE_ROOT/.clang-format" "$T/tree/"
	put src/base/str.h '#pragma once' '#include <stddef.h>' 'size_t str_len(const char *s);'
	put src/pkg/pkg.h '#pragma once' '#include "base/str.h"' 'int pkg_f(void);'
	put src/pkg/inner.h '#pragma once' 'int pkg_inner(void);'
	put src/pkg/pkg.c '#include "pkg/pkg.h"' '#include <stddef.h>' '#include "base/str.h"' '#include "pkg/inner.h"' \
		'int pkg_f(void)' '{' '	return 0;' '}'
	put src/cmd/cmd.c '#include "pkg/pkg.h"' 'int cmd_f(void);'
}

# put FILE LINE...: a C file with its SPDX line
put()
{
	test_file=$T/tree/$1
	shift
	{
		echo '// SPDX-License-Identifier: Apache-2.0'
		printf '%s\n' "$@"
	} >"$test_file"
}
