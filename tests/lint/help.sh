# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
generate=$SOURCE_ROOT/tools/help-from-man

cat >slipway-env.1.scd <<'X'
slipway-env(1)

# NAME

slipway-env - environments

# SYNOPSIS

*slipway env create* *-n* _NAME_ [_SPEC_...]++
*slipway env list*

# DESCRIPTION

First "paragraph" with a\_b, snake_case and \*stars\*,
two lines.

Second paragraph.

# OPTIONS

; a comment
*-n* _NAME_
	The name.
	Say _more_, as much as needs another line, because a terminal has no more than 80 columns.

	A second paragraph.

# EXIT STATUS

*0*
	Done.
X
cat >want <<'X'
slipway-env - environments

usage:
  slipway env create -n NAME [SPEC...]
  slipway env list

First "paragraph" with a_b, snake_case and *stars*, two lines.

options:
  -n NAME
      The name. Say more, as much as needs another line, because a terminal has
      no more than 80 columns.
      A second paragraph.

More: man slipway-env
X
# print KEY: the text of a page, through the compiler
print()
{
	"$generate" ./*.scd >help_texts.c && cat >main.c <<-'X' && cc -I"$SOURCE_ROOT/src" -o main main.c help_texts.c && ./main "$1"
		#include "cmd/help.h"
		#include <stdio.h>
		#include <string.h>
		int main(int argc, char **argv)
		{
			for (const struct help_page *p = help_pages; argc > 1 && p->key; p++)
				if (strcmp(p->key, argv[1]) == 0)
					fputs(p->text, stdout);
			return 0;
		}
	X
}
t 'a page becomes help' prints "$(cat want)" print env
sed 's/slipway-env/slipway-env-create/' slipway-env.1.scd >slipway-env-create.1.scd
t 'a page of a verb has its own key' runs print env-create
t 'and its own text' has '^slipway-env-create - ' out
sed '/SYNOPSIS/d' slipway-env.1.scd >slipway-bad.1.scd
t 'a page without synopsis is an error' must_fail 1 "$generate" slipway-bad.1.scd
t 'that names the page' has '^slipway-bad.1.scd: no NAME or no SYNOPSIS' err
t 'a missing page is an error' must_fail 2 "$generate" slipway-none.1.scd
cp slipway-env.1.scd other.1.scd
t 'so is another name' must_fail 1 "$generate" other.1.scd

# Each page of the tree makes help, and is listed so that it is installed.
for page in "$SOURCE_ROOT"/doc/man/*.scd; do
	t "$(basename "$page") is in doc/meson.build" grep -q "'man/$(basename "$page")'" "$SOURCE_ROOT/doc/meson.build"
	if command -v scdoc >/dev/null; then
		t "$(basename "$page") is good scdoc" sh -c 'scdoc <"$1" >/dev/null' sh "$page"
	else
		skip "$(basename "$page") is good scdoc" 'no scdoc'
	fi
done

done_testing
