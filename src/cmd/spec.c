// SPDX-License-Identifier: Apache-2.0
/* spec match: does a package fit a spec? spec show: how a spec is understood. */
#include "base/json.h"
#include "cmd/change.h"

struct spec_args {
	const char *scheme, *channel, *subdir;
	bool dependency;
	struct cmd_list words;
	const struct spec *spec;
	const struct pkg_scheme *rules;
};

static int read_args(struct cmd_context *c, struct spec_args *a, size_t want, const char *takes, int argc, char **argv,
		     struct err *e)
{
	const struct cmd_option options[] = {{0, "scheme", CMD_TEXT, &a->scheme},
					     {0, "channel", CMD_TEXT, &a->channel},
					     {0, "subdir", CMD_TEXT, &a->subdir},
					     {0, "dependency", CMD_FLAG, &a->dependency},
					     {0, NULL, CMD_FLAG, NULL}};
	if (cmd_parse(c, options, false, argc, argv, &a->words, e) < 0)
		return -1;
	if (c->help)
		return 0;
	if (a->words.n != want)
		return err_new(e, ERR_USAGE, "%s, not %zu words", takes, a->words.n);
	a->rules = pkg_scheme_find(str_c(a->scheme));
	if (!a->rules)
		return err_new(e, ERR_USAGE, "unknown scheme '%s'; there is 'conda'", a->scheme);
	a->spec = a->rules->spec_parse(&c->arena, str_c(a->words.v[0]), a->dependency ? SPEC_DEPENDENCY : SPEC_REQUEST,
				       e);
	if (!a->spec)
		e->code = ERR_USAGE;
	return a->spec ? 0 : -1;
}

/* The build number that a build string ends in, as everywhere: "py39h27cfd23_3" is build 3. */
static uint64_t number_of(struct str build)
{
	uint64_t n = 0;
	ptrdiff_t at = str_rfind(build, '_');
	return str_to_u64(str_skip(build, (size_t)(at + 1)), &n) ? n : 0;
}

static int read_record(struct cmd_context *c, const struct spec_args *a, struct pkg_record *ret, struct err *e)
{
	*ret = (struct pkg_record){
		.name = str_c(a->words.v[1]), .version = str_c(a->words.v[2]), .build = str_c(a->words.v[3])};
	ret->build_number = number_of(ret->build);
	ret->channel = str_c(a->channel);
	ret->subdir = str_c(a->subdir);
	if (a->rules->version_parse(&c->arena, ret->version, e))
		return 0;
	e->code = ERR_USAGE;
	return -1;
}

static int print_match(struct cmd_context *c, bool match)
{
	auto_buf out = BUF_INIT(BUF_MAX);
	if (c->json) {
		struct jw w = JW_INIT(&out, 0);
		jw_object(&w);
		jw_kv_bool(&w, "match", match);
		jw_object_end(&w);
	} else {
		buf_put_c(&out, match ? "match" : "no match");
	}
	buf_put_char(&out, '\n');
	cmd_print(c, &out);
	return match ? CMD_OK : CMD_FAILED;
}

int cmd_spec_match(struct cmd_context *c, int argc, char **argv)
{
	struct spec_args a = {.scheme = "conda"};
	struct err e = ERR_INIT;
	struct pkg_record r;
	bool match = false;
	int rc = read_args(c, &a, 4, "spec match takes SPEC NAME VERSION BUILD", argc, argv, &e);
	if (rc == 0 && c->help) {
		vec_release(&a.words);
		return cmd_help(c);
	}
	if (rc == 0)
		rc = read_record(c, &a, &r, &e);
	if (rc == 0) {
		match = a.rules->spec_match(a.spec, &r);
		if (!match && spec_matches_name(a.spec, r.name) && spec_would_match_loosely(a.spec, r.version))
			cmd_say(c,
				"%.*s only begins with what '%.*s' asks for: a request wants whole segments, a dependency not (--dependency)",
				STR_ARG(r.version), STR_ARG(spec_version_text(a.spec)));
	}
	vec_release(&a.words);
	return rc < 0 ? cmd_fail(c, &e) : print_match(c, match);
}

struct part {
	const char *title;
	struct str value;
};

static void show_json(struct buf *out, const struct spec *s, const struct part *parts, size_t n)
{
	const struct str *extras;
	uint32_t extras_n = spec_extras(s, &extras);
	struct jw w = JW_INIT(out, 2);
	jw_object(&w);
	for (size_t i = 0; i < n; i++)
		if (parts[i].value.n)
			jw_kv_str(&w, parts[i].title, parts[i].value);
	if (extras_n)
		jw_kv_list(&w, "extras", extras, extras_n);
	jw_object_end(&w);
	buf_put_char(out, '\n');
}

static void show_text(struct buf *out, const struct spec *s, const struct part *parts, size_t n)
{
	const struct str *extras;
	uint32_t extras_n = spec_extras(s, &extras);
	for (size_t i = 0; i < n; i++)
		if (parts[i].value.n)
			buf_printf(out, "%-10s %.*s\n", parts[i].title, STR_ARG(parts[i].value));
	for (uint32_t i = 0; i < extras_n; i++)
		buf_printf(out, "%-10s %.*s\n", "extra", STR_ARG(extras[i]));
}

int cmd_spec_show(struct cmd_context *c, int argc, char **argv)
{
	struct spec_args a = {.scheme = "conda"};
	struct err e = ERR_INIT;
	auto_buf canonical = BUF_INIT(BUF_MAX), out = BUF_INIT(BUF_MAX);
	int rc = read_args(c, &a, 1, "spec show takes one spec", argc, argv, &e);
	vec_release(&a.words);
	if (rc < 0 || c->help)
		return rc < 0 ? cmd_fail(c, &e) : cmd_help(c);
	a.rules->spec_format(a.spec, &canonical);
	const struct part parts[] = {
		{"canonical", buf_str(&canonical)},
		{"name", spec_name(a.spec)},
		{"version", spec_version_text(a.spec)},
		{"build", spec_build_text(a.spec)},
		{"channel", spec_channel(a.spec)},
		{"subdir", spec_subdir(a.spec)},
		{"when", spec_when(a.spec)},
	};
	(c->json ? show_json : show_text)(&out, a.spec, parts, sizeof(parts) / sizeof(*parts));
	return cmd_print(c, &out);
}
