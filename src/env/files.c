// SPDX-License-Identifier: Apache-2.0
#include "env/files.h"

enum { MAX_FILE = 256 << 20 };

#define HAND_OVER(list)                                                                                                \
	do {                                                                                                           \
		b->file->list = vec_copy(&b->list, b->arena);                                                          \
		b->file->list##_n = (uint32_t)b->list.n;                                                               \
		vec_release(&b->list);                                                                                 \
	} while (0)

static void hand_over(struct file_builder *b)
{
	HAND_OVER(channels);
	HAND_OVER(specs);
	HAND_OVER(variables);
	HAND_OVER(components);
	HAND_OVER(packages);
	HAND_OVER(notes);
}

static bool is_variable_name(struct str s)
{
	if (!s.n || s.n > 256 || (s.p[0] >= '0' && s.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

int file_add_variable(struct file_builder *b, struct str name, struct str value, unsigned line, struct err *e)
{
	if (!is_variable_name(name))
		return err_new(e, ERR_INPUT, "%s:%u: '%.*s' is not a variable name (letters, digits and '_')", b->where,
			       line, STR_ARG(name));
	if (memchr(value.p, '\0', value.n))
		return err_new(e, ERR_INPUT, "%s:%u: the value of '%.*s' holds a NUL byte", b->where, line,
			       STR_ARG(name));
	name = arena_str(b->arena, name);
	uint64_t *slot = map_put(&b->variable_names, name);
	if (*slot)
		return err_new(e, ERR_INPUT, "%s:%u: variable '%.*s' is there twice", b->where, line, STR_ARG(name));
	*slot = b->variables.n + 1;
	*vec_add(&b->variables) = (struct env_variable){name, arena_str(b->arena, value)};
	return 0;
}

int file_add_component(struct file_builder *b, struct str name, struct str text, struct str path, unsigned line,
		       struct err *e)
{
	enum { TEXT_MAX = 1 << 20 };
	struct err why = ERR_INIT;
	if (env_name_check(name, &why) < 0)
		return err_new(e, ERR_INPUT,
			       "%s:%u: '%.*s' is no name of a component (letters, digits, '.', '_', '-'; at most 64)",
			       b->where, line, STR_ARG(str_head(name, 100)));
	if (text.n > TEXT_MAX || (text.n && memchr(text.p, '\0', text.n)))
		return err_new(e, ERR_LIMIT, "%s:%u: component '%.*s' is larger than 1 MiB, or holds a NUL byte",
			       b->where, line, STR_ARG(name));
	vec_foreach(c, &b->components)
		if (str_eq(c->name, name))
			return err_new(e, ERR_INPUT, "%s:%u: component '%.*s' is there twice", b->where, line,
				       STR_ARG(name));
	*vec_add(&b->components) =
		(struct env_component){arena_str(b->arena, name), arena_str(b->arena, text), arena_str(b->arena, path)};
	return 0;
}

void file_add_channel(struct file_builder *b, struct str channel)
{
	if (str_eq(channel, STR("nodefaults")))
		b->file->nodefaults = true;
	else
		vec_push(&b->channels, channel);
}

int file_add_package(struct file_builder *b, const struct env_lock_package *p, unsigned line, struct err *e)
{
	uint64_t *slot = map_put(&b->package_names, p->record.name);
	if (*slot)
		return err_new(e, ERR_INPUT, "%s:%u: the package '%.*s' is there twice", b->where, line,
			       STR_ARG(p->record.name));
	*vec_add(&b->packages) = *p;
	*slot = b->packages.n;
	return 0;
}

/* Old channels have odd versions, but none that is not one printable word. */
int file_check_version(struct file_builder *b, struct str version, unsigned line, struct err *e)
{
	for (size_t i = 0; i < version.n; i++)
		if (version.p[i] <= ' ' || version.p[i] >= 0x7f || version.p[i] == '/')
			return err_new(e, ERR_INPUT, "%s:%u: '%.*s' is not a version", b->where, line,
				       STR_ARG(version));
	return 0;
}

static int check_utf8(struct str text, const char *where, struct err *e)
{
	unsigned line = 1;
	while (text.n) {
		uint32_t c;
		size_t n = (unsigned char)text.p[0] < 0x80 ? 1 : utf8_take(text, &c);
		if (!n)
			return err_new(e, ERR_INPUT, "%s:%u: not UTF-8 text", where, line);
		line += text.p[0] == '\n';
		text = str_skip(text, n);
	}
	return 0;
}

/* One fact a line is how a recipe is kept: none of them may hold a line of its own. */
static int check_text(const struct file_builder *b, const char *what, struct str s, struct err *e)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return err_new(e, ERR_INPUT, "%s: a %s holds a control character: '%.*s'", b->where, what,
				       (int)i, s.p);
	return s.n && str_eq(str_trim(s), s)
		       ? 0
		       : err_new(e, ERR_INPUT, "%s: a %s is empty, or has blanks around it", b->where, what);
}

static int check_texts(const struct file_builder *b, struct err *e)
{
	vec_foreach(c, &b->channels)
		if (check_text(b, "channel", *c, e) < 0)
			return -1;
	vec_foreach(s, &b->specs)
		if (check_text(b, "spec", *s, e) < 0)
			return -1;
	return b->file->name.n ? check_text(b, "name", b->file->name, e) : 0;
}

int env_file_read(struct arena *a, struct str text, const char *where, struct env_spec_file *ret, struct err *e)
{
	struct env_spec_file file = {0};
	struct file_builder b = {.arena = a, .where = arena_strdup(a, str_c(where)), .file = &file};
	b.variable_names = b.package_names = MAP_INIT;
	if (text.n > MAX_FILE)
		return err_new(e, ERR_LIMIT, "%s: larger than 256 MiB: this is not a recipe", where);
	if (check_utf8(text, where, e) < 0)
		return -1;
	int rc = file_is_spr(text)	    ? file_read_spr(&b, text, e)
		 : file_is_yml(text, where) ? file_read_yml(&b, text, e)
					    : file_read_lines(&b, text, e);
	if (rc == 0)
		rc = check_texts(&b, e);
	hand_over(&b);
	map_release(&b.variable_names);
	map_release(&b.package_names);
	if (rc == 0)
		*ret = file;
	return rc;
}
