# SPDX-License-Identifier: Apache-2.0
# Every command of the table has a page that shows how it is called.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

shows_usage()
{
	# shellcheck disable=SC2086 # a noun and a verb
	"$SLIPWAY" $1 --help >help || return 1
	grep -q "^  slipway $1\( \|$\)" help && grep -q '^options:' help && ! grep '.\{80\}' help
}

t 'help lists the commands' "$SLIPWAY" --help
"$SLIPWAY" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z-]*\) *\([a-z-]*\)  .*/\1 \2/p' | sed 's/ $//' >commands
t 'more than twenty of them' test "$(wc -l <commands)" -gt 20
while read -r command; do
	t "$command --help" shows_usage "$command"
done <commands
"$SLIPWAY" env create --help >page
t 'help COMMAND' runs "$SLIPWAY" help env create
t 'is the same page' diff page out
t 'help NOUN lists verbs' runs "$SLIPWAY" help env
t 'a page for each of some' has "'slipway env VERB --help' tells more of one" out
t 'help of verbs' runs "$SLIPWAY" help install
t 'that share a page' has "'slipway install VERB --help' tells more of all of them" out
t 'help of nothing known' must_fail 2 "$SLIPWAY" help frob
t 'help of no verb' must_fail 2 "$SLIPWAY" help env frob
t 'a noun alone lists its verbs' "$SLIPWAY" env --help
t 'without --help it is a usage error' must_fail 2 "$SLIPWAY" env
t 'a wrong option' must_fail 2 "$SLIPWAY" env list --nonsense
t 'is named, with what to do' has "unknown option '--nonsense'; 'slipway env list --help' lists the options" err

done_testing
