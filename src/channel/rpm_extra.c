// SPDX-License-Identifier: Apache-2.0
/* Groups, advisories and modules: files beside the packages that a repository may have, published as they are. */
#include <fcntl.h>

#include "base/fs.h"
#include "channel/rpm_set.h"

#define EXTRA_MAX ((size_t)256 << 20)

static const struct extra {
	const char *word, *ending; /* of the file's name */
	const char *type;
	const char *name; /* in repodata */
	bool is_xml, packed;
} extras[] = {
	/* yum of CentOS 7 wants groups as they are */
	{"comps", ".xml", "group", "comps.xml", true, false},
	{"updateinfo", ".xml", "updateinfo", "updateinfo.xml.gz", true, true},
	{"modules", ".yaml", "modules", "modules.yaml.gz", false, true},
	{"modules", ".yml", "modules", "modules.yaml.gz", false, true},
};

static const struct extra *find(struct str path)
{
	struct str name = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
		if (str_search(name, str_c(extras[i].word)) >= 0 && str_ends(name, str_c(extras[i].ending)))
			return &extras[i];
	return NULL;
}

bool rpm_is_extra(struct str path)
{
	return find(path) != NULL;
}

static int ignore_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	(void)ctx, (void)x, (void)name, (void)attributes, (void)e;
	return 0;
}

static int ignore_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	(void)ctx, (void)x, (void)name, (void)e;
	return 0;
}

static int check(const struct extra *x, const char *file, struct str text, struct err *e)
{
	const struct rpm_xml_handler h = {ignore_start, ignore_end, NULL};
	auto_ptr(istream) in = istream_mem(text, file);
	return x->is_xml ? rpm_xml_read(in, &h, e) : 0;
}

/* A document type is of no use to a client, and comps files of old have one: it goes. */
static void put_without_doctype(struct buf *to, struct str text)
{
	ptrdiff_t begin = str_search(text, STR("<!DOCTYPE"));
	ptrdiff_t end = begin < 0 ? -1 : str_find(str_skip(text, (size_t)begin), '>');
	struct str inside = begin < 0 ? STR_NONE : str_head(str_skip(text, (size_t)begin), (size_t)(end + 1));
	if (end < 0 || str_find(inside, '[') >= 0) {
		buf_put_str(to, text);
		return;
	}
	buf_put_str(to, str_head(text, (size_t)begin));
	buf_put_str(to, str_skip(text, (size_t)(begin + end + 1)));
}

/* It takes the place of what there is of its type, in whatever form ("group_gz"). */
static void replace(struct rpm_set *s, const struct rpm_data *d)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->carried.n; i++) {
		struct str form = s->carried.v[i]->type;
		if (!str_take_str(&form, d->type) || (form.n > 0 && form.p[0] != '_'))
			s->carried.v[kept++] = s->carried.v[i];
	}
	s->carried.n = kept;
	vec_push(&s->carried, d);
}

int rpm_extra_add(struct rpm_set *s, const char *file, int64_t now_s, bool dry_run, struct err *e)
{
	const struct extra *x = find(str_c(file));
	auto_buf whole = BUF_INIT(EXTRA_MAX), text = BUF_INIT(EXTRA_MAX), element = BUF_INIT(1 << 16);
	struct rpm_written written;
	if (fs_read(AT_FDCWD, file, &whole, e) < 0)
		return -1;
	put_without_doctype(&text, buf_str(&whole));
	if (check(x, file, buf_str(&text), e) < 0)
		return -1;
	if (dry_run)
		return 0;
	auto_ptr(rpm_writer) w = rpm_writer_new(s->t, x->packed, e);
	if (!w || rpm_writer_put(w, buf_str(&text), e) < 0 || rpm_writer_end(w, x->name, NULL, &written, e) < 0)
		return -1;
	rpm_data_write(&element, x->type, &written, now_s);
	struct rpm_data *d = arena_new(&s->arena, struct rpm_data);
	d->type = str_c(x->type);
	d->path = arena_str(&s->arena, str_c(written.path));
	d->raw = arena_str(&s->arena, str_trim(buf_str(&element)));
	replace(s, d);
	return 0;
}
