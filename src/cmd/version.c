// SPDX-License-Identifier: Apache-2.0
/* version compare: the order of two versions. */
#include "base/json.h"
#include "cmd/change.h"

/* What was given on the command line is the person's to mend: exit 2. */
static int usage(struct cmd_context *c, struct err *e)
{
	e->code = ERR_USAGE;
	return cmd_fail(c, e);
}

static int print_order(struct cmd_context *c, struct str a, struct str b, const char *order)
{
	auto_buf out = BUF_INIT(BUF_MAX);
	if (c->json) {
		struct jw w = JW_INIT(&out, 0);
		jw_object(&w);
		jw_kv_str(&w, "a", a);
		jw_kv_str(&w, "b", b);
		jw_kv_c(&w, "order", order);
		jw_object_end(&w);
	} else {
		buf_put_c(&out, order);
	}
	buf_put_char(&out, '\n');
	return cmd_print(c, &out);
}

int cmd_version_compare(struct cmd_context *c, int argc, char **argv)
{
	const char *scheme = "conda";
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {{0, "scheme", CMD_TEXT, &scheme}, {0, NULL, CMD_FLAG, NULL}};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	size_t n = words.n;
	struct str a = n == 2 ? str_c(words.v[0]) : STR_NONE, b = n == 2 ? str_c(words.v[1]) : STR_NONE;
	vec_release(&words);
	if (rc < 0 || c->help)
		return rc < 0 ? cmd_fail(c, &e) : cmd_help(c);
	if (n != 2) {
		err_new(&e, ERR_USAGE, "version compare takes two versions, not %zu words", n);
		return cmd_fail(c, &e);
	}
	const struct pkg_scheme *s = pkg_scheme_find(str_c(scheme));
	if (!s) {
		err_new(&e, ERR_USAGE, "unknown scheme '%s'; there is 'conda'", scheme);
		return cmd_fail(c, &e);
	}
	a = str_trim(a), b = str_trim(b);
	if (pkg_version_check(a, &e) < 0 || pkg_version_check(b, &e) < 0)
		return usage(c, &e);
	const struct version *v = s->version_parse(&c->arena, a, &e),
			     *w = v ? s->version_parse(&c->arena, b, &e) : NULL;
	if (!v || !w)
		return usage(c, &e);
	int order = s->version_cmp(v, w);
	return print_order(c, a, b, order < 0 ? "<" : order > 0 ? ">" : "=");
}
