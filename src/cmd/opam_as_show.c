// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: `opam list` and `opam show`. */
#include <stdio.h>

#include "cmd/opam_as.h"

/* -- list --------------------------------------------------------------------------------------------------------------------- */

struct list_args {
	const char *columns, *separator;
	bool shorter, installed, available, all, roots, pinned;
};
struct row {
	struct str name, version, installed, pinned; /* pinned: to which version, where it is */
	size_t order;				     /* among those of its name */
	const struct pkg_opam_doc *doc;
};
VEC_TYPE(rows, struct row);

static const struct pkg_opam_doc *doc_of(struct opam_as *x, struct str text, const char *where)
{
	struct pkg_opam_doc *d = arena_new(&x->c->arena, struct pkg_opam_doc);
	struct err ignored = ERR_INIT;
	(void)pkg_opam_read(&x->c->arena, text, where, d, &ignored); /* what could be read is there */
	return d;
}

static const struct pkg_opam_doc *installed_doc(struct opam_as *x, struct str nv)
{
	struct pkg_opam_doc *d = arena_new(&x->c->arena, struct pkg_opam_doc);
	struct err ignored = ERR_INIT;
	if (env_opam_installed_file(x->s, &x->c->arena, nv, d, &ignored) < 0)
		*d = (struct pkg_opam_doc){0};
	return d;
}

/* Of a repository; NULL: none has it. */
static int found_doc(struct opam_as *x, struct str name, struct str version, const struct pkg_opam_doc **ret,
		     struct err *e)
{
	const struct opam_as_repo *repo;
	struct oi_pkg at;
	struct str text;
	*ret = NULL;
	if (!opam_as_find(x, name, version, &repo, &at))
		return 0;
	if (opam_index_text(repo->index, at, &x->c->arena, &text, e) < 0)
		return -1;
	*ret = doc_of(x, text, "opam");
	return 0;
}

/* "lwt", "lwt.5*": the pattern of names; *ret that of versions, or none. */
static struct str name_in(const char *pattern, struct str *ret)
{
	struct str version = str_c(pattern), name;
	bool both = str_take_until(&version, '.', &name);
	if (ret)
		*ret = both ? version : STR_NONE;
	return both ? name : version;
}

static bool is_asked(const struct cmd_list *patterns, struct str name)
{
	bool any = patterns->n == 0;
	for (size_t i = 0; i < patterns->n && !any; i++)
		any = str_glob(name_in(patterns->v[i], NULL), name);
	return any;
}

static void add_installed(struct opam_as *x, const struct list_args *a, const struct env_opam_state *st,
			  const struct cmd_list *patterns, struct rows *out)
{
	const struct pkg_opam_strs *from = a->roots ? &st->roots : a->pinned ? &st->pinned : &st->installed;
	for (size_t i = 0; i < from->n; i++) {
		struct row r = {0};
		if (!env_opam_split(from->v[i], &r.name, &r.version) || !is_asked(patterns, r.name))
			continue;
		r.installed = env_opam_version_in(&st->installed, r.name);
		r.pinned = env_opam_version_in(&st->pinned, r.name);
		r.doc = installed_doc(x, from->v[i]);
		vec_push(out, r);
	}
}

/* What this host can have of the repositories: for --available. */
static int open_needs(struct opam_as *x, const struct env_opam_state *st, struct channel_needs **ret, struct err *e)
{
	struct arena *a = &x->c->arena;
	auto_ptr(env_opam_vars) vars = NULL;
	if (opam_as_open_repos(x, e) < 0 || env_opam_vars_new(x->o, x->s, a, &vars, e) < 0)
		return -1;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	struct pkg_opam_strs said = env_opam_host_variables(&h, a);
	const struct channel_needs_opts o = {.variables = said.v,
					     .variables_n = said.n,
					     .pinned = st->pinned.v,
					     .pinned_n = st->pinned.n,
					     .installed = st->installed.v,
					     .installed_n = st->installed.n};
	struct opam_index **v = arena_array(a, struct opam_index *, x->repos_n);
	for (size_t i = 0; i < x->repos_n; i++)
		v[i] = x->repos[i].index;
	return channel_needs_open_opam(v, x->repos_n, &o, ret, e);
}

struct offered {
	struct channel_needs *needs;
	struct str version;
};

/* The newest, whether or not its author would have it avoided. */
static int note_offered(void *ctx, const struct channel_need *need, struct err *e)
{
	struct offered *o = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		struct str version = channel_needs_candidate(o->needs, need->one.v[i])->version;
		if (channel_needs_is_available(o->needs, need->one.v[i]) &&
		    (!o->version.n || pkg_opam_version_cmp(version, o->version) > 0))
			o->version = version;
	}
	return 0;
}

/* Leaves out what cannot be had here; of the rest the version that can. */
static int keep_available(struct opam_as *x, const struct env_opam_state *st, struct str *names, size_t *n,
			  struct err *e)
{
	auto_ptr(channel_needs) needs = NULL;
	size_t kept = 0;
	if (open_needs(x, st, &needs, e) < 0)
		return -1;
	for (size_t i = 0; i < *n; i++) {
		struct offered o = {.needs = needs};
		struct str name, version;
		struct err why = ERR_INIT;
		if (!env_opam_split(names[i], &name, &version))
			continue;
		if (channel_needs_ask(needs, name, note_offered, &o, &why) < 0 && why.code != ERR_NOT_FOUND)
			return *e = why, -1;
		if (o.version.n)
			names[kept++] =
				str_c(arena_printf(&x->c->arena, "%.*s.%.*s", STR_ARG(name), STR_ARG(o.version)));
	}
	*n = kept;
	return 0;
}

/* Of the repositories the best version of each name; or, of the one name that was asked for, every version. */
static int add_available(struct opam_as *x, const struct env_opam_state *st, const struct cmd_list *patterns,
			 const struct list_args *a, bool every, struct rows *out, struct err *e)
{
	struct str *names;
	size_t names_n;
	bool docs = a->columns || !a->shorter; /* names alone need none */
	if (opam_as_names(x, &names, &names_n, e) < 0 ||
	    (a->available && !every && keep_available(x, st, names, &names_n, e) < 0))
		return -1;
	for (size_t i = 0; i < names_n; i++) {
		struct opam_as_found *v;
		struct row r = {0};
		size_t n;
		(void)env_opam_split(names[i], &r.name, &r.version);
		if (!is_asked(patterns, r.name))
			continue;
		r.installed = env_opam_version_in(&st->installed, r.name);
		r.pinned = env_opam_version_in(&st->pinned, r.name);
		if (!every) {
			r.version = r.installed.n ? r.installed : r.version;
			if (docs && found_doc(x, r.name, r.version, &r.doc, e) < 0)
				return -1;
			vec_push(out, r);
			continue;
		}
		if (opam_as_versions(x, r.name, &v, &n, e) < 0)
			return -1;
		struct str wanted;
		(void)name_in(patterns->v[0], &wanted);
		for (size_t k = 0; k < n; k++) {
			if (wanted.n && !str_glob(wanted, v[k].version))
				continue;
			r.version = v[k].version;
			r.doc = doc_of(x, v[k].text, v[k].where.p);
			vec_push(out, r);
		}
	}
	return 0;
}

static void put_column(struct opam_as *x, struct opam_as_table *t, struct str column, const struct row *r)
{
	struct str synopsis = r->doc ? pkg_opam_text(pkg_opam_get(r->doc, "synopsis")) : STR_NONE;
	if (!synopsis.n && r->doc) { /* of an old file: its description's first line */
		struct str all = pkg_opam_text(pkg_opam_get(r->doc, "description"));
		(void)str_take_line(&all, &synopsis);
	}
	(void)x;
	if (str_eq_c(column, "name"))
		opam_as_cell(t, "%.*s", STR_ARG(r->name));
	else if (str_eq_c(column, "version"))
		opam_as_cell(t, "%.*s", STR_ARG(r->version));
	else if (str_eq_c(column, "package"))
		opam_as_cell(t, "%.*s.%.*s", STR_ARG(r->name), STR_ARG(r->version));
	else if (str_eq_c(column, "installed-version") || str_eq_c(column, "installed"))
		opam_as_cell(t, "%.*s", STR_ARG(r->installed.n ? r->installed : STR("--")));
	else if (str_eq_c(column, "synopsis-or-target") && r->pinned.n)
		opam_as_cell(t, "pinned to version %.*s", STR_ARG(r->pinned));
	else if (str_starts(column, STR("synopsis")))
		opam_as_cell(t, "%.*s", STR_ARG(str_trim(synopsis)));
	else if (str_ends(column, STR(":"))) {
		auto_buf b = BUF_INIT(65536);
		const struct pkg_opam_value *v =
			r->doc ? pkg_opam_get(r->doc, arena_strdup(&x->c->arena, str_head(column, column.n - 1)))
			       : NULL;
		if (v)
			pkg_opam_print_value(v, &b);
		opam_as_cell(t, "%s", b.p);
	}
}

static const struct {
	const char *column, *title;
} titles[] = {{"name", "Name"},
	      {"version", "Version"},
	      {"package", "Package"},
	      {"synopsis", "Synopsis"},
	      {"synopsis-or-target", "Synopsis"},
	      {"installed-version", "Installed"},
	      {"installed", "Installed"}};
enum { TITLES = sizeof(titles) / sizeof(*titles) };

/* The words of --columns; false: one of them is unknown. */
static bool take_columns(struct opam_as *x, const char *said, struct str *v, size_t *n)
{
	struct str rest = str_c(said), word;
	*n = 0;
	while (rest.n && *n < OUT_TABLE_COLUMNS) {
		if (!str_take_until(&rest, ',', &word)) {
			word = rest;
			rest = STR_NONE;
		}
		bool known = str_ends(word, STR(":"));
		for (size_t i = 0; i < TITLES; i++)
			known |= str_eq_c(word, titles[i].column);
		if (!known) {
			opam_as_say(x, 0, "No printer for \"%.*s\"", STR_ARG(word));
			return false;
		}
		v[(*n)++] = word;
	}
	return true;
}

static void put_banner(struct opam_as *x, const struct list_args *a, const struct cmd_list *patterns)
{
	auto_buf b = BUF_INIT(65536);
	const char *what = a->roots			  ? "root"
			   : a->pinned			  ? "pinned"
			   : a->available		  ? "available"
			   : a->all			  ? "any"
			   : a->installed || !patterns->n ? "installed"
							  : "(installed | available)";
	buf_put_c(&b, what);
	if (patterns->n) {
		buf_put_c(&b, patterns->n > 1 ? " & (" : " & ");
		for (size_t i = 0; i < patterns->n; i++) {
			struct str version, name = name_in(patterns->v[i], &version);
			bool both = version.n && patterns->n > 1;
			buf_printf(&b, "%s%sname-match(%.*s)", i ? " | " : "", both ? "(" : "", STR_ARG(name));
			if (version.n)
				buf_printf(&b, " & version-match(%.*s)%s", STR_ARG(version), both ? ")" : "");
		}
		buf_put_c(&b, patterns->n > 1 ? ")" : "");
	}
	opam_as_put(x, "# Packages matching: %s\n", b.p);
}

static int print_list(struct opam_as *x, const struct list_args *a, const struct rows *rows, bool several)
{
	struct str columns[OUT_TABLE_COLUMNS];
	size_t n;
	struct opam_as_table t = {.sep = a->separator ? a->separator : " "};
	const char *usual = a->shorter ? several ? "package" : "name"
			    : several  ? "package,installed-version,synopsis-or-target"
				       : "name,installed-version,synopsis-or-target";
	if (!take_columns(x, a->columns ? a->columns : usual, columns, &n))
		return OPAM_USAGE;
	t.columns = n;
	for (size_t i = 0; i < n && !a->shorter; i++) {
		const char *title = arena_strdup(&x->c->arena, columns[i]);
		for (size_t k = 0; k < TITLES; k++)
			if (str_eq_c(columns[i], titles[k].column))
				title = titles[k].title;
		opam_as_cell(&t, "# %s", title);
	}
	for (size_t i = 0; i < rows->n; i++)
		for (size_t k = 0; k < n; k++)
			put_column(x, &t, columns[k], &rows->v[i]);
	opam_as_table(x, &t);
	return OPAM_OK;
}

static unsigned lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* As opam sorts names: letters alike in either case, capitals first. */
static int row_cmp(const void *p, const void *q)
{
	const struct row *a = p, *b = q;
	for (size_t i = 0; i < a->name.n && i < b->name.n; i++)
		if (a->name.p[i] != b->name.p[i])
			return lower(a->name.p[i]) != lower(b->name.p[i])
				       ? (lower(a->name.p[i]) < lower(b->name.p[i]) ? -1 : 1)
				       : (a->name.p[i] < b->name.p[i] ? -1 : 1);
	if (a->name.n != b->name.n)
		return a->name.n < b->name.n ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

static int list(struct opam_as *x, const struct list_args *a, const struct cmd_list *patterns)
{
	struct rows rows = {0};
	struct env_opam_state st = {0};
	struct err e = ERR_INIT;
	bool repo = a->available || a->all || (patterns->n && !a->installed && !a->roots && !a->pinned);
	/* one name alone is asked for its versions */
	bool several = repo && !a->available && !a->all && patterns->n == 1 &&
		       pkg_opam_name_is_good(name_in(patterns->v[0], NULL));
	/* what repositories have can be listed before there is a switch */
	bool no_switch = repo && !opam_as_switch_name(x);
	int code = no_switch ? opam_as_root(x) : opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	if ((!no_switch && env_opam_state_read(x->s, &x->c->arena, &st, &e) < 0) ||
	    (repo && add_available(x, &st, patterns, a, several, &rows, &e) < 0)) {
		vec_release(&rows);
		return opam_as_fail(x, &e);
	}
	if (!repo)
		add_installed(x, a, &st, patterns, &rows);
	for (size_t i = 0; i < rows.n; i++)
		rows.v[i].order = i;
	vec_sort(&rows, row_cmp);
	if (!a->shorter)
		put_banner(x, a, patterns);
	if (rows.n)
		code = print_list(x, a, &rows, several);
	else if (!a->shorter)
		cmd_say(x->c, "# No matches found");
	vec_release(&rows);
	return code;
}

int opam_as_list(struct opam_as *x, int argc, char **argv)
{
	struct list_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {
		{'s', "short", CMD_FLAG, &a.shorter},	    {'i', "installed", CMD_FLAG, &a.installed},
		{'a', "available", CMD_FLAG, &a.available}, {'A', "all", CMD_FLAG, &a.all},
		{0, "installed-roots", CMD_FLAG, &a.roots}, {0, "roots", CMD_FLAG, &a.roots},
		{0, "pinned", CMD_FLAG, &a.pinned},	    {0, "columns", CMD_TEXT, &a.columns},
		{0, "separator", CMD_TEXT, &a.separator},   {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = list(x, &a, &words);
	vec_release(&words);
	return code;
}

/* -- show ------------------------------------------------------------------------------------------------------------------------- */

struct show_args {
	const char *fields;
	bool raw;
};
struct shown {
	struct str name, version, installed, repo;
	struct opam_as_found *found;
	size_t found_n;
	const struct pkg_opam_doc *doc;
	struct str text;
};

/* The version that was asked for, or that is pinned, or installed, or the best one. 0: there is none. */
static int choose(struct opam_as *x, const char *asked, struct shown *ret, struct err *e)
{
	struct env_opam_state st = {0};
	struct str version = STR_NONE;
	*ret = (struct shown){.name = str_c(asked)};
	(void)env_opam_split(str_c(asked), &ret->name, &version);
	if (x->s && env_opam_state_read(x->s, &x->c->arena, &st, e) < 0)
		return -1;
	if (opam_as_versions(x, ret->name, &ret->found, &ret->found_n, e) < 0)
		return -1;
	ret->installed = env_opam_version_in(&st.installed, ret->name);
	struct str pinned = env_opam_version_in(&st.pinned, ret->name);
	ret->version = version.n	  ? version
		       : pinned.n	  ? pinned
		       : ret->installed.n ? ret->installed
		       : ret->found_n	  ? ret->found[ret->found_n - 1].version
					  : STR_NONE;
	for (size_t i = 0; i < ret->found_n; i++)
		if (str_eq(ret->found[i].version, ret->version)) {
			ret->text = ret->found[i].text;
			ret->repo = ret->found[i].repo;
			ret->doc = doc_of(x, ret->text, ret->found[i].where.p);
			return 1;
		}
	if (!ret->installed.n || !str_eq(ret->installed, ret->version))
		return 0;
	ret->doc = installed_doc(
		x, str_c(arena_printf(&x->c->arena, "%.*s.%.*s", STR_ARG(ret->name), STR_ARG(ret->version))));
	ret->text = ret->doc->text;
	return 1;
}

/* In one line, whatever is in it. */
static void put_string(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_printf(b, "\\%c", s.p[i]);
		else if (s.p[i] == '\n' || s.p[i] == '\t')
			buf_put_c(b, s.p[i] == '\n' ? "\\n" : "\\t");
		else
			buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '"');
}

/* What stands in a list, without its brackets: in one line where it fits, else each in its own. */
static void put_list(struct buf *b, const struct pkg_opam_value *v, bool in_lines)
{
	enum { WIDTH = 80 };
	size_t start = b->n;
	for (const struct pkg_opam_value *y = v->first; y; y = y->next) {
		struct pkg_opam_value one = *y;
		one.next = NULL;
		buf_put_c(b, y == v->first ? "" : in_lines ? "\n" : " ");
		pkg_opam_print_value(&one, b);
	}
	if (in_lines || (b->n - start <= WIDTH && !memchr(b->p + start, '\n', b->n - start)))
		return;
	buf_truncate(b, start);
	put_list(b, v, true);
}

/* A field's value as opam shows it. */
static void put_value(struct buf *b, const struct pkg_opam_value *v)
{
	if (v && v->kind == PKG_OPAM_LIST && v->first) {
		put_list(b, v, false);
	} else if (v && v->kind == PKG_OPAM_STRING) {
		put_string(b, v->text);
	} else if (v) {
		pkg_opam_print_value(v, b);
	}
}

static bool own_field(struct opam_as *x, const struct shown *s, struct str field, struct buf *b)
{
	if (str_eq_c(field, "name"))
		buf_put_str(b, s->name);
	else if (str_eq_c(field, "version"))
		buf_put_str(b, s->version);
	else if (str_eq_c(field, "package"))
		buf_printf(b, "%.*s.%.*s", STR_ARG(s->name), STR_ARG(s->version));
	else if (str_eq_c(field, "installed-version"))
		buf_put_str(b, s->installed.n ? s->installed : STR("--"));
	else if (str_eq_c(field, "repository"))
		buf_put_str(b, s->repo);
	else if (str_eq_c(field, "pin"))
		return true;
	else if (str_eq_c(field, "all-versions"))
		for (size_t i = 0; i < s->found_n; i++)
			buf_printf(b, "%s%.*s", i ? "  " : "", STR_ARG(s->found[i].version));
	else if (str_eq_c(field, "all-installed-versions") && s->installed.n)
		buf_printf(b, "%.*s [%s]", STR_ARG(s->installed), env_opam_switch_name(x->s));
	else if (str_eq_c(field, "synopsis") || str_eq_c(field, "description"))
		buf_put_str(b, str_trim(pkg_opam_text(pkg_opam_get(s->doc, arena_strdup(&x->c->arena, field)))));
	else
		return str_eq_c(field, "all-installed-versions");
	return true;
}

static bool field_of(struct opam_as *x, const struct shown *s, struct str field, struct buf *b)
{
	static const char *const plain[] = {"depends", "depopts",     "conflicts", "available",	     "flags",
					    "authors", "maintainer",  "license",   "homepage",	     "doc",
					    "tags",    "bug-reports", "dev-repo",  "depexts",	     "build",
					    "install", "remove",      "url",	   "conflict-class", "setenv"};
	bool known = str_ends(field, STR(":"));
	if (!known && own_field(x, s, field, b))
		return true;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain) && !known; i++)
		known = str_eq_c(field, plain[i]);
	if (!known)
		return false;
	if (str_ends(field, STR(":")))
		field.n--;
	if (str_eq_c(field, "version") || str_eq_c(field, "name")) { /* a repository's file need not say them */
		buf_printf(b, "\"%.*s\"", STR_ARG(str_eq_c(field, "name") ? s->name : s->version));
		return true;
	}
	const struct pkg_opam_value *v = pkg_opam_get(s->doc, arena_strdup(&x->c->arena, field));
	if (v && v->kind == PKG_OPAM_STRING)
		put_string(b, str_eq_c(field, "description") ? str_trim(v->text) : v->text);
	else
		put_value(b, v);
	return true;
}

/* A row for each line that has something in it. */
static void put_rows(struct opam_as_table *t, const char *field, struct str text, bool always)
{
	struct str line = STR_NONE;
	bool first = true;
	while (str_take_line(&text, &line) || (first && always)) {
		if (line.n || (first && always)) {
			opam_as_cell(t, "%s", first ? field : "");
			opam_as_cell(t, "%.*s", STR_ARG(line));
			first = false;
		}
		line = STR_NONE;
	}
}

static int show_fields(struct opam_as *x, const struct shown *s, const char *said)
{
	struct opam_as_table t = {.columns = 2, .sep = " "};
	struct str rest = str_c(said), field;
	bool several = strchr(said, ',') != NULL;
	while (rest.n) {
		auto_buf b = BUF_INIT(1 << 20);
		if (!str_take_until(&rest, ',', &field)) {
			field = rest;
			rest = STR_NONE;
		}
		if (!field_of(x, s, field, &b))
			return opam_as_say(x, OPAM_USAGE, "No printer for \"%.*s\"", STR_ARG(field));
		if (!several) {
			opam_as_put(x, "%s\n", b.p);
			continue;
		}
		put_rows(&t, arena_strdup(&x->c->arena, field), buf_str(&b), true);
	}
	if (several)
		opam_as_table(x, &t);
	return OPAM_OK;
}

static void row_of(struct opam_as *x, struct opam_as_table *t, const struct shown *s, const char *field, bool always)
{
	auto_buf b = BUF_INIT(1 << 20);
	(void)field_of(x, s, str_c(field), &b);
	put_rows(t, field, buf_str(&b), always);
}

/* Of the section url, as opam names them: "url.src". */
static void url_rows(struct arena *a, struct opam_as_table *t, const struct shown *s)
{
	static const char *const fields[] = {"src", "archive", "checksum", "mirrors"};
	const struct pkg_opam_item *url = pkg_opam_section(s->doc, "url", NULL);
	for (size_t i = 0; url && i < sizeof(fields) / sizeof(*fields); i++) {
		auto_buf b = BUF_INIT(1 << 20);
		put_value(&b, pkg_opam_get_in(url, fields[i]));
		put_rows(t, arena_printf(a, "url.%s", fields[i]), buf_str(&b), false);
	}
}

static void show_all(struct opam_as *x, const struct shown *s)
{
	static const char *const details[] = {"version",     "repository", "homepage", "doc",
					      "bug-reports", "dev-repo",   "authors",  "maintainer",
					      "license",     "tags",	   "flags",    "depends",
					      "depopts",     "conflicts",  "synopsis", "description"};
	struct opam_as_table t = {.columns = 2, .sep = " "}, more = {.columns = 2, .sep = " "};
	opam_as_header(x, "%.*s: information on all versions", STR_ARG(s->name));
	row_of(x, &t, s, "name", true);
	if (s->installed.n)
		row_of(x, &t, s, "all-installed-versions", true);
	row_of(x, &t, s, "all-versions", true);
	opam_as_table(x, &t);
	opam_as_header(x, "Version-specific details");
	for (size_t i = 0; i < sizeof(details) / sizeof(*details); i++) {
		row_of(x, &more, s, details[i], false);
		if (strcmp(details[i], "repository") == 0)
			url_rows(&x->c->arena, &more, s);
	}
	opam_as_table(x, &more);
}

static void show_raw(struct opam_as *x, const struct shown *s)
{
	auto_buf b = BUF_INIT(1 << 24);
	struct arena *a = &x->c->arena;
	struct pkg_opam_item *first = NULL, *at;
	const struct pkg_opam_item *from = s->doc->first;
	/* the version stands with the name behind opam-version, where the file does not say it */
	if (from && str_eq_c(from->name, "opam-version") && !pkg_opam_get(s->doc, "name") &&
	    !pkg_opam_get(s->doc, "version")) {
		first = pkg_opam_make_field(a, "opam-version", from->value);
		at = pkg_opam_make_field(a, "name", pkg_opam_make(a, PKG_OPAM_STRING, s->name));
		first->next = at;
		struct pkg_opam_item *version =
			pkg_opam_make_field(a, "version", pkg_opam_make(a, PKG_OPAM_STRING, s->version));
		at->next = version;
		version->next = from->next;
	}
	pkg_opam_print_normal(first ? first : from, &b);
	out_put(&x->c->out, buf_str(&b));
}

static int show(struct opam_as *x, const struct show_args *a, const struct cmd_list *w)
{
	struct err e = ERR_INIT;
	const char *name = opam_as_switch_name(x);
	int code = opam_as_root(x);
	if (code == OPAM_OK && name)
		code = opam_as_switch(x);
	if (code == OPAM_OK && !w->n)
		code = opam_as_say(x, OPAM_USAGE, "opam show wants a package");
	for (size_t i = 0; i < w->n && code == OPAM_OK; i++) {
		struct shown s;
		int rc = choose(x, w->v[i], &s, &e);
		if (rc < 0)
			code = opam_as_fail(x, &e);
		else if (rc == 0)
			code = opam_as_say(x, OPAM_NOT_FOUND, "No package matching %s found", w->v[i]);
		else if (a->fields)
			code = show_fields(x, &s, a->fields);
		else if (a->raw)
			show_raw(x, &s);
		else
			show_all(x, &s);
	}
	return code;
}

int opam_as_show(struct opam_as *x, int argc, char **argv)
{
	struct show_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {
		{'f', "field", CMD_TEXT, &a.fields}, {0, "raw", CMD_FLAG, &a.raw}, {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = show(x, &a, &words);
	vec_release(&words);
	return code;
}
