# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
# base/banned.h makes each of these an error, and compiles before any system header.
compile()
{
	cc -std=gnu17 -D_GNU_SOURCE -Werror -include base/banned.h -I"$SOURCE_ROOT/src" -fsyntax-only x.c
}

# refuses NAME CALL
refuses()
{
	printf '#include <libgen.h>\n#include <alloca.h>\nvoid f(char *a, time_t *t);\nvoid f(char *a, time_t *t) { %s; }\n' "$2" >x.c
	must_fail 1 compile && has "slipway_does_not_use_$1" err
}

printf '#include <libgen.h>\n#include <alloca.h>\n#include <sqlite3.h>\n#include <curl/curl.h>\n#include <archive.h>\n' >x.c
t 'the headers of libraries still compile' compile
for call in 'strcpy(a, a)' 'strcat(a, a)' 'strncpy(a, a, 1)' 'sprintf(a, "x")' 'strtok(a, a)' 'atoi(a)' 'strtol(a, 0, 10)' \
	'strtoull(a, 0, 10)' 'gmtime(t)' 'localtime(t)' 'basename(a)' 'alloca(3)'; do
	t "refuses $call" refuses "${call%%(*}" "$call"
done

done_testing
