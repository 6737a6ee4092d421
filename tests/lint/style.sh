# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/tree.sh"
check=$SOURCE_ROOT/tools/check-style

t 'the sources keep to the style' "$check" "$SOURCE_ROOT"

tree
t 'a good tree passes' "$check" tree

# sees RULE LINE...: a file of src/pkg with these lines breaks RULE
sees()
{
	rule=$1
	shift
	tree
	put src/pkg/x.c "$@"
	must_fail 1 "$check" tree && has "^src/pkg/x.c:[0-9]*: $rule: " out
}

# accepts LINE...
accepts()
{
	tree
	put src/pkg/x.c "$@"
	"$check" tree
}

# lines N: a function with N lines in its body
lines()
{
	printf 'int f(void)\n{\n'
	seq "$1" | sed 's/.*/	x();/'
	printf '}\n'
}

t 'sees goto' sees goto '	goto out;'
t 'sees a bare reminder' sees todo '	x(); /* TODO mend */'
t 'accepts a reminder with its issue' accepts '	x(); /* TODO(#12) mend */'
t 'accepts a template of mkstemp' accepts '	x("/tmp/a.XXXXXX");'
t 'sees exit outside cmd' sees exit '	exit(1);'
t 'accepts _exit' accepts '	_exit(1);'
t 'sees printing outside cmd' sees print '	printf("x");'
t 'sees stderr outside cmd' sees print '	fputs("x", stderr);'
t 'sees a call past base/sys.h' sees sys '	renameat(a, b, c, d);'
t 'sees a file made past base/sys.h' sees sys '	openat(a, b, O_WRONLY | O_CREAT);'
t 'accepts a file opened to be read' accepts '	openat(a, b, O_RDONLY);'
t 'accepts the sys twin' accepts '	sys_renameat(a, b, c, d);'
t 'accepts a member of that name' accepts '	s->write(a); t.unlink(b);'
t 'sees system()' sees process '	system("rm -rf /");'
t 'sees a long function' sees length "$(lines 151)"
t 'accepts one of 150 lines' accepts "$(lines 150)"
t 'sees a long file' sees length "$(seq 1201 | sed 's/.*/int x;/')"
t 'comments are not code' accepts '/* goto' ' * goto x;' ' */' '// exit(1)'
t 'strings are not code' accepts '	x("goto \"x\" exit(1)");'
t 'code after a comment is code' sees goto '	/* x */ goto out;'
t 'an exception with its reason' accepts '	goto out; /* style: allow goto: one documented retry */'
t 'an exception on the line above' accepts '	/* style: allow goto: one documented retry */' '	goto out;'
t 'an exception is for one rule' sees exit '	exit(1); /* style: allow goto: one documented retry */'
t 'an exception ends with its line' sees goto '	/* style: allow goto: retry */' '	x();' '	goto out;'
t 'sees an exception without reason' sees allow '	goto out; /* style: allow goto */'
tree
echo 'int x;' >tree/src/pkg/x.c
t 'sees a missing licence line' must_fail 1 "$check" tree
t 'names the file' has '^src/pkg/x.c:1: spdx' out

done_testing
