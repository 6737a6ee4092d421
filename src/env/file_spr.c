// SPDX-License-Identifier: Apache-2.0
/*
 * .spr, our recipe and lock (doc/formats/spr.md): one fact a line, so that two of them merge and compare line by line.
 */
#include "env/files.h"

enum { SPR_VERSION = 3, OS_MAX = 2048, MAX_LINE = 32 << 20, MAX_LINES = 2000000 };

static int bad(const struct file_builder *b, unsigned line, struct err *e, const char *what)
{
	return err_new(e, ERR_INPUT, "%s:%u: %s", b->where, line, what);
}

bool file_is_spr(struct str text)
{
	struct str line;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (line.n && line.p[0] != '#')
			return str_starts(line, STR("recipe ")) || str_eq(line, STR("recipe"));
	}
	return false;
}

/* The line's JSON, with its place in messages. */
static const struct json *read_json(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	return json_parse(b->arena, arena_str(b->arena, value), arena_printf(b->arena, "%s:%u", b->where, line), e);
}

static int read_version(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	uint64_t v;
	if (!str_to_u64(value, &v) || v < 1)
		return bad(b, line, e, "'recipe' wants the format's number: 'recipe 1'");
	if (v > SPR_VERSION)
		return err_new(e, ERR_UNSUPPORTED,
			       "%s:%u: recipe format %llu is newer than this slipway reads (%d); upgrade slipway",
			       b->where, line, (unsigned long long)v, SPR_VERSION);
	b->version = v;
	return 0;
}

static int read_variable(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	struct str name;
	if (!str_take_until(&value, '=', &name))
		return bad(b, line, e, "'variable' wants NAME=\"value\"");
	if (!value.n || value.p[0] != '"')
		return file_add_variable(b, name, value, line, e);
	const struct json *j = read_json(b, value, line, e);
	if (!j)
		return -1;
	if (j->type != JSON_STRING)
		return bad(b, line, e, "'variable' wants NAME=\"value\"");
	return file_add_variable(b, name, j->string, line, e);
}

/* component NAME="text", component NAME=path */
static int read_component(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	struct str name;
	if (b->version < 2)
		return bad(b, line, e, "'component' is of format 2: begin with 'recipe 2'");
	if (!str_take_until(&value, '=', &name) || !value.n)
		return bad(b, line, e, "'component' wants NAME=path or NAME=\"text\"");
	if (value.p[0] != '"')
		return file_add_component(b, name, STR_NONE, value, line, e);
	const struct json *j = read_json(b, value, line, e);
	if (!j)
		return -1;
	if (j->type != JSON_STRING || !j->string.n)
		return bad(b, line, e, "'component' wants NAME=path or NAME=\"text\"");
	return file_add_component(b, name, j->string, STR_NONE, line, e);
}

static int read_package(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	struct env_lock_package p = {0};
	const struct json *j = read_json(b, value, line, e);
	if (!j || pkg_record_read(b->arena, j, &p.record, e) < 0)
		return -1;
	if (!p.record.fn.n || !p.record.url.n)
		return bad(b, line, e, "a package without 'url' cannot be fetched; export the recipe again");
	if (!p.record.has_sha256 && !p.record.has_md5)
		return bad(b, line, e, "a package without a digest cannot be exact; export the recipe again");
	if (file_check_version(b, p.record.version, line, e) < 0)
		return -1;
	b->file->is_lock = true;
	return file_add_package(b, &p, line, e);
}

/* requested NAME SPEC: says which spec brought a package of the lock in. */
static int read_requested(struct file_builder *b, struct str value, unsigned line, struct err *e)
{
	struct str name;
	if (!str_take_until(&value, ' ', &name))
		return bad(b, line, e, "'requested' wants a name and a spec");
	uint64_t *slot = map_get(&b->package_names, name);
	if (!slot)
		return bad(b, line, e, "'requested' names a package that is not listed above it");
	struct env_lock_package *p = &b->packages.v[*slot - 1];
	p->requested = true;
	p->requested_spec = arena_str(b->arena, value);
	return 0;
}

static int read_os(struct file_builder *b, struct str range, unsigned line, struct err *e)
{
	struct str *all = &b->file->os;
	if (channel_os_check(range, e) < 0)
		return err_ctx(e, "%s:%u", b->where, line);
	if (all->n + range.n > OS_MAX)
		return bad(b, line, e, "more of 'os' than a recipe has");
	*all = str_c(arena_printf(b->arena, "%.*s%s%.*s", STR_ARG(*all), all->n ? "; " : "", STR_ARG(range)));
	return 0;
}

static int read_line(struct file_builder *b, struct str key, struct str value, unsigned line, struct err *e)
{
	if (!value.n)
		return err_new(e, ERR_INPUT, "%s:%u: '%.*s' lacks its value", b->where, line, STR_ARG(key));
	if (str_eq(key, STR("recipe")))
		return read_version(b, value, line, e);
	if (str_eq(key, STR("package")))
		return read_package(b, value, line, e);
	if (str_eq(key, STR("variable")))
		return read_variable(b, value, line, e);
	if (str_eq(key, STR("component")))
		return read_component(b, value, line, e);
	if (str_eq(key, STR("requested")))
		return read_requested(b, value, line, e);
	struct str copy = arena_str(b->arena, value);
	if (str_eq(key, STR("channel")))
		file_add_channel(b, copy);
	else if (str_eq(key, STR("spec")))
		vec_push(&b->specs, copy);
	else if (str_eq(key, STR("name")))
		b->file->name = copy;
	else if (str_eq(key, STR("subdir")))
		b->file->subdir = copy;
	else if (str_eq(key, STR("lock")))
		b->file->is_lock = true;
	else if (str_eq(key, STR("os")))
		return read_os(b, copy, line, e);
	else
		return err_new(
			e, ERR_INPUT,
			"%s:%u: unknown word '%.*s' (known: recipe, name, subdir, os, channel, spec, variable, component, lock, package, requested)",
			b->where, line, STR_ARG(key));
	return 0;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20) /* DEL is none in JSON, and may stand in a package's licence */
			return true;
	return false;
}

int file_read_spr(struct file_builder *b, struct str text, struct err *e)
{
	struct str line, key;
	unsigned n = 0;
	while (str_take_line(&text, &line)) {
		if (++n > MAX_LINES || line.n > MAX_LINE)
			return err_new(e, ERR_LIMIT, "%s:%u: too long for a recipe", b->where, n);
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (has_control(line))
			return bad(b, n, e, "a control character; in a variable's value write \\n, \\t or \\u0001");
		if (!str_take_until(&line, ' ', &key)) {
			key = line;
			line = STR_NONE;
		}
		if (read_line(b, key, str_trim(line), n, e) < 0)
			return -1;
	}
	return 0;
}

static void put_line(struct buf *b, const char *key, struct str value)
{
	buf_put_c(b, key);
	buf_put_char(b, ' ');
	buf_put_str(b, value);
	buf_put_char(b, '\n');
}

static void put_variable(struct buf *b, const struct env_variable *v)
{
	struct jw w = JW_INIT(b, 0);
	buf_put_c(b, "variable ");
	buf_put_str(b, v->name);
	buf_put_char(b, '=');
	jw_str(&w, v->value);
	buf_put_char(b, '\n');
}

static void put_component(struct buf *b, const struct env_component *c)
{
	struct jw w = JW_INIT(b, 0);
	buf_put_c(b, "component ");
	buf_put_str(b, c->name);
	buf_put_char(b, '=');
	if (c->text.n)
		jw_str(&w, c->text);
	else
		buf_put_str(b, c->path);
	buf_put_char(b, '\n');
}

static void put_package(struct buf *b, const struct env_lock_package *p)
{
	struct jw w = JW_INIT(b, 0);
	buf_put_c(b, "package ");
	jw_object(&w);
	pkg_record_write(&w, &p->record);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static bool has_opam(const struct env_spec_file *f)
{
	for (uint32_t i = 0; i < f->specs_n; i++)
		if (str_starts(f->specs[i], STR("opam:")))
			return true;
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (pkg_is_opam(f->packages[i].record.name, NULL))
			return true;
	return false;
}

void env_file_write_spr(const struct env_spec_file *f, struct buf *b)
{
	buf_put_c(b, has_opam(f) ? "recipe 3\n" : f->components_n ? "recipe 2\n" : "recipe 1\n");
	if (f->name.n)
		put_line(b, "name", f->name);
	if (f->subdir.n)
		put_line(b, "subdir", f->subdir);
	for (uint32_t i = 0; i < f->channels_n; i++)
		put_line(b, "channel", f->channels[i]);
	if (f->nodefaults)
		put_line(b, "channel", STR("nodefaults"));
	for (uint32_t i = 0; i < f->specs_n; i++)
		put_line(b, "spec", f->specs[i]);
	for (uint32_t i = 0; i < f->variables_n; i++)
		put_variable(b, &f->variables[i]);
	for (uint32_t i = 0; i < f->components_n; i++)
		put_component(b, &f->components[i]);
	if (f->is_lock)
		put_line(b, "lock", STR("exact"));
	for (uint32_t i = 0; i < f->packages_n; i++)
		put_package(b, &f->packages[i]);
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct env_lock_package *p = &f->packages[i];
		if (!p->requested || !p->requested_spec.n)
			continue;
		/* not by format: STR_ARG cuts for messages, and a lock must be whole */
		buf_put_c(b, "requested ");
		buf_put_str(b, p->record.name);
		buf_put_char(b, ' ');
		buf_put_str(b, p->requested_spec);
		buf_put_char(b, '\n');
	}
}
