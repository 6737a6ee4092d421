// SPDX-License-Identifier: Apache-2.0
/* pack.yml (doc/formats/pack.md): what a package is, beside its staged files. */
#include "base/yaml.h"
#include "build/pack.h"

enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_LIST };
struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
};
#define AT(member) offsetof(struct pack_meta, member)
static const struct field fields[] = {
	{"name", FIELD_TEXT, AT(name)},
	{"version", FIELD_TEXT, AT(version)},
	{"build", FIELD_TEXT, AT(build)},
	{"build_number", FIELD_NUMBER, AT(build_number)},
	{"subdir", FIELD_TEXT, AT(subdir)},
	{"noarch", FIELD_TEXT, AT(noarch)},
	{"depends", FIELD_LIST, AT(depends)},
	{"constrains", FIELD_LIST, AT(constrains)},
	{"entry_points", FIELD_LIST, AT(entry_points)},
	{"run_exports", FIELD_LIST, AT(run_exports)},
	{"run_exports_strong", FIELD_LIST, AT(run_exports_strong)},
	{"license", FIELD_TEXT, AT(license)},
	{"license_family", FIELD_TEXT, AT(license_family)},
	{"summary", FIELD_TEXT, AT(summary)},
	{"description", FIELD_TEXT, AT(description)},
	{"home", FIELD_TEXT, AT(home)},
	{"dev_url", FIELD_TEXT, AT(dev_url)},
	{"doc_url", FIELD_TEXT, AT(doc_url)},
	{"track_features", FIELD_TEXT, AT(track_features)},
	{"python_site_packages_path", FIELD_TEXT, AT(python_site_packages_path)},
	{"prefix", FIELD_TEXT, AT(prefix)},
};
enum { FIELDS_N = sizeof(fields) / sizeof(*fields) };

static const void *at_const(const struct pack_meta *m, const struct field *f)
{
	return (const char *)m + f->offset;
}

static void *at(struct pack_meta *m, const struct field *f)
{
	return (char *)m + f->offset;
}

static const struct field *field_find(struct str key)
{
	for (size_t i = 0; i < FIELDS_N; i++)
		if (str_eq_c(key, fields[i].key))
			return &fields[i];
	return NULL;
}

static int read_list(struct arena *a, const struct yaml *y, const char *key, struct pack_list *ret, struct err *e)
{
	if (y->type != YAML_LIST)
		return yaml_error(y, e, "'%s' must be a list, a line '- …' for each", key);
	struct str *v = arena_array(a, struct str, y->n);
	for (uint32_t i = 0; i < y->n; i++)
		if (yaml_str(&y->item[i], key, &v[i], e) < 0)
			return -1;
	*ret = (struct pack_list){v, y->n};
	return 0;
}

static int read_field(struct arena *a, const struct field *f, const struct yaml *y, struct pack_meta *m, struct err *e)
{
	struct str text;
	if (yaml_is_null(y))
		return 0;
	if (f->kind == FIELD_LIST)
		return read_list(a, y, f->key, at(m, f), e);
	if (yaml_str(y, f->key, &text, e) < 0)
		return -1;
	if (f->kind == FIELD_TEXT)
		*(struct str *)at(m, f) = arena_str(a, text);
	else if (!str_to_i64(text, at(m, f)) || m->build_number < 0)
		return yaml_error(y, e, "'%s' must be a number", f->key);
	return 0;
}

int recipe_read(struct arena *a, struct str text, const char *where, struct pack_meta *m, struct err *e)
{
	const struct yaml *y = yaml_parse(a, text, where, e);
	if (!y)
		return -1;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "this must be lines 'key: value': name, version, depends …");
	for (uint32_t i = 0; i < y->n; i++) {
		const struct field *f = field_find(y->pair[i].key);
		if (!f)
			return yaml_error(&y->pair[i].value, e, "unknown key '%.*s'", STR_ARG(y->pair[i].key));
		if (read_field(a, f, &y->pair[i].value, m, e) < 0)
			return -1;
	}
	return 0;
}

static bool is_given(const struct pack_meta *m, const struct field *f)
{
	const void *p = at_const(m, f);
	switch (f->kind) {
	case FIELD_TEXT:
		return ((const struct str *)p)->p != NULL;
	case FIELD_NUMBER:
		return *(const int64_t *)p >= 0;
	case FIELD_LIST:
		return ((const struct pack_list *)p)->n > 0;
	}
	return false;
}

void meta_merge(struct pack_meta *m, const struct pack_meta *over)
{
	for (size_t i = 0; i < FIELDS_N; i++) {
		const struct field *f = &fields[i];
		static const size_t size[] = {
			[FIELD_TEXT] = sizeof(struct str),
			[FIELD_NUMBER] = sizeof(int64_t),
			[FIELD_LIST] = sizeof(struct pack_list),
		};
		if (is_given(over, f))
			memcpy(at(m, f), at_const(over, f), size[f->kind]);
	}
}

/* The prefix describes the files, not the package. */
bool meta_is_empty(const struct pack_meta *m)
{
	for (size_t i = 0; i < FIELDS_N; i++)
		if (is_given(m, &fields[i]) && fields[i].offset != AT(prefix))
			return false;
	return true;
}
