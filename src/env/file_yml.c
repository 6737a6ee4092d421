// SPDX-License-Identifier: Apache-2.0
/* environment.yml (CEP 24). */
#include "base/yaml.h"
#include "env/files.h"

bool file_is_yml(struct str text, const char *where)
{
	struct str line, w = str_c(where);
	if (str_ends(w, STR(".yml")) || str_ends(w, STR(".yaml")))
		return true;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		return str_eq(line, STR("---")) || str_starts(line, STR("name:")) ||
		       str_starts(line, STR("channels:")) || str_starts(line, STR("dependencies:")) ||
		       str_starts(line, STR("variables:"));
	}
	return false;
}

static int read_texts(struct file_builder *b, const struct yaml *y, const char *what, bool is_channels, struct err *e)
{
	if (yaml_is_null(y))
		return 0;
	if (y->type != YAML_LIST)
		return yaml_error(y, e, "'%s' must be a list", what);
	for (uint32_t i = 0; i < y->n; i++) {
		struct str s;
		if (yaml_str(&y->item[i], what, &s, e) < 0)
			return -1;
		if (is_channels)
			file_add_channel(b, s);
		else
			vec_push(&b->specs, s);
	}
	return 0;
}

static int refuse_subsection(const struct yaml *item, struct err *e)
{
	struct str key = item->n ? item->pair[0].key : STR("");
	if (str_starts(key, STR("sel(")))
		return yaml_error(
			item, e,
			"'%.*s:' is micromamba's own, and other programs cannot read it (CEP 24); write a file "
			"for each platform, without it",
			STR_ARG(key));
	if (!str_eq(key, STR("pip")))
		return yaml_error(item, e, "unknown subsection '%.*s' in 'dependencies'", STR_ARG(key));
	yaml_error(item, e,
		   "a 'pip:' section needs Python wheels, which this slipway does not install yet; "
		   "take the section out, or name conda packages of the same projects");
	e->code = ERR_UNSUPPORTED;
	return -1;
}

static int read_dependencies(struct file_builder *b, const struct yaml *y, struct err *e)
{
	if (yaml_is_null(y))
		return 0;
	if (y->type != YAML_LIST)
		return yaml_error(y, e, "'dependencies' must be a list");
	for (uint32_t i = 0; i < y->n; i++) {
		struct str s;
		if (y->item[i].type == YAML_MAP)
			return refuse_subsection(&y->item[i], e);
		if (yaml_str(&y->item[i], "dependencies", &s, e) < 0)
			return -1;
		vec_push(&b->specs, s);
	}
	return 0;
}

static int read_variables(struct file_builder *b, const struct yaml *y, struct err *e)
{
	if (yaml_is_null(y))
		return 0;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'variables' must be a map of names to values");
	for (uint32_t i = 0; i < y->n; i++) {
		struct str value;
		if (yaml_str(&y->pair[i].value, "variables", &value, e) < 0 ||
		    file_add_variable(b, y->pair[i].key, value, y->pair[i].line, e) < 0)
			return -1;
	}
	return 0;
}

static int read_section(struct file_builder *b, const struct yaml_pair *p, struct err *e)
{
	if (str_eq(p->key, STR("name")))
		return yaml_is_null(&p->value) ? 0 : yaml_str(&p->value, "name", &b->file->name, e);
	if (str_eq(p->key, STR("channels")))
		return read_texts(b, &p->value, "channels", true, e);
	if (str_eq(p->key, STR("dependencies")))
		return read_dependencies(b, &p->value, e);
	if (str_eq(p->key, STR("variables")))
		return read_variables(b, &p->value, e);
	if (str_eq(p->key, STR("prefix"))) /* where it was exported from: means nothing here (CEP 24) */
		return 0;
	vec_push(&b->notes, str_c(arena_printf(b->arena, "%s:%u: section '%.*s' is passed over", b->where, p->line,
					       STR_ARG(p->key))));
	return 0;
}

int file_read_yml(struct file_builder *b, struct str text, struct err *e)
{
	const struct yaml *y = yaml_parse(b->arena, text, b->where, e);
	if (!y)
		return -1;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "an environment file is a map with 'dependencies:'");
	for (uint32_t i = 0; i < y->n; i++)
		if (read_section(b, &y->pair[i], e) < 0)
			return -1;
	return yaml_get(y, "dependencies") ? 0
					   : err_new(e, ERR_INPUT,
						     "%s: there is no 'dependencies:' section; "
						     "'dependencies: []' makes an empty environment",
						     b->where);
}

static void put_item(struct buf *b, struct str s)
{
	buf_put_c(b, "  - ");
	yaml_put_scalar(b, s);
	buf_put_char(b, '\n');
}

static void put_packages(struct buf *b, const struct env_spec_file *f, bool with_builds)
{
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct pkg_record *r = &f->packages[i].record;
		buf_printf(b, "  - %.*s=%.*s", STR_ARG(r->name), STR_ARG(r->version));
		if (with_builds)
			buf_printf(b, "=%.*s", STR_ARG(r->build));
		buf_put_char(b, '\n');
	}
}

void env_file_write_yml(const struct env_spec_file *f, bool with_builds, struct buf *b)
{
	if (f->name.n) {
		buf_put_c(b, "name: ");
		yaml_put_scalar(b, f->name);
		buf_put_char(b, '\n');
	}
	buf_put_c(b, f->channels_n || f->nodefaults ? "channels:\n" : "channels: []\n");
	for (uint32_t i = 0; i < f->channels_n; i++)
		put_item(b, f->channels[i]);
	if (f->nodefaults)
		put_item(b, STR("nodefaults"));
	buf_put_c(b, "dependencies:\n");
	if (f->is_lock)
		put_packages(b, f, with_builds);
	for (uint32_t i = 0; !f->is_lock && i < f->specs_n; i++)
		put_item(b, f->specs[i]);
	if (f->variables_n)
		buf_put_c(b, "variables:\n");
	for (uint32_t i = 0; i < f->variables_n; i++) {
		buf_put_c(b, "  ");
		yaml_put_scalar(b, f->variables[i].name);
		buf_put_c(b, ": ");
		yaml_put_scalar(b, f->variables[i].value);
		buf_put_char(b, '\n');
	}
}
