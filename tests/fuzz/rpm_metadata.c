// SPDX-License-Identifier: Apache-2.0
/*
 * Metadata of an RPM repository; the first byte says which: repomd.xml, primary, filelists. What is told of lies inside the
 * repository, and a record that is handed on is read again as the same.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "channel/rpm_make.h"
#include "channel/rpm_write.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct buf *names;
	struct rpm_package last;
	unsigned n;
	bool again;
};

static void read_primary(struct str text, struct buf *namespaces, rpm_package_fn *fn, struct seen *s)
{
	struct err e = ERR_INIT;
	auto_ptr(istream) in = istream_mem(text, "primary");
	if (rpm_primary_read(in, namespaces, fn, s, &e) < 0 && !e.msg[0])
		panic("no reason");
	if (e.msg[0] && s->again)
		panic("%s: %.*s", e.msg, STR_ARG(text));
}

static int see_again(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct seen *s = ctx;
	(void)e;
	if (!str_eq(p->name, s->last.name) || !str_eq(p->path, s->last.path) || !str_eq(p->pkgid, s->last.pkgid) ||
	    !str_eq(p->url, s->last.url) || !str_eq(p->version, s->last.version) || !str_eq(p->raw, s->last.raw))
		panic("'%.*s' is read as '%.*s'", STR_ARG(s->last.raw), STR_ARG(p->raw));
	s->n++;
	return 0;
}

static int see_package(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct seen *s = ctx, once = {.last = *p, .again = true};
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	(void)e;
	if (!channel_path_is_normal(p->path))
		panic("'%.*s' leads elsewhere", STR_ARG(p->path));
	buf_put_str(&b, rpm_head(&a, RPM_PRIMARY, buf_str(s->names), 1));
	buf_put_str(&b, p->raw);
	buf_put_str(&b, rpm_tail(&a, RPM_PRIMARY));
	read_primary(buf_str(&b), NULL, see_again, &once);
	if (once.n != 1)
		panic("%u records are read of one", once.n);
	return ++s->n == 1000 ? -1 : 0;
}

static int see_record(void *ctx, struct str pkgid, struct str raw, struct err *e)
{
	(void)ctx, (void)pkgid, (void)e;
	if (!str_starts(raw, STR("<package")) || !str_ends(raw, STR(">")))
		panic("no record: '%.*s'", STR_ARG(raw));
	return 0;
}

static void read_repomd(struct str text)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct rpm_repomd r;
	int dir = fuzz_dir();
	if (fs_mkdirs(dir, "repodata", 0700, &e) < 0 || fs_replace(dir, RPM_REPOMD, text.p, text.n, 0, &e) < 0)
		panic("%s", e.msg);
	int rc = rpm_repomd_read(dir, NULL, &a, &r, &e);
	if (rc < 0 && !e.msg[0])
		panic("no reason");
	for (size_t i = 0; rc > 0 && i < r.n; i++)
		if (!channel_path_is_normal(r.data[i].path))
			panic("'%.*s' leads elsewhere", STR_ARG(r.data[i].path));
	if (fs_remove_tree(dir, "repodata", &e) < 0)
		panic("%s", e.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct str text = str_of((const char *)data + 1, size - 1);
	if (size < 1)
		return 0;
	if (data[0] % 4 == 0) {
		read_repomd(text);
	} else if (data[0] % 4 == 1) {
		auto_ptr(istream) in = istream_mem(text, "filelists");
		if (rpm_list_read(in, "filelists", NULL, see_record, NULL, &e) < 0 && !e.msg[0])
			panic("no reason");
	} else {
		auto_buf names = BUF_INIT(1 << 16);
		struct seen s = {.names = &names};
		auto_ptr(istream) in = istream_mem(text, "primary");
		(void)rpm_primary_read(in, &names, see_package, &s, &e);
	}
	return 0;
}
