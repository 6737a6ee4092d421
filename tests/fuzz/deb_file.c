// SPDX-License-Identifier: Apache-2.0
/*
 * A package that somebody publishes: the input as a .deb, and as the control file of a good one. What is taken is one stanza
 * that begins with the package's name and says nothing of what an index adds.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "channel/deb.h"
#include "index_read.h"
#include "lib/deb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[128];

static void clean(void)
{
	unlink(path);
}

static void check(const struct deb_file *f)
{
	auto_ptr(istream) in = istream_mem(f->control, "control");
	auto_deb_reader r;
	struct str stanza;
	struct deb_field field;
	struct err e = ERR_INIT;
	deb_reader_init(&r, in);
	if (deb_next(&r, &stanza, &e) != 1 || !str_eq(stanza, f->control) || deb_next(&r, &stanza, &e) != 0)
		panic("'%.*s' is not one stanza", STR_ARG(f->control));
	struct str s = f->control;
	if (!deb_take_field(&s, &field) || !str_eq_c(field.name, "Package") || !str_eq(field.value, f->name))
		panic("'%.*s' does not begin with its name", STR_ARG(f->control));
	if (deb_value(f->control, "Filename").p || deb_value(f->control, "SHA256").p)
		panic("'%.*s' says what an index adds", STR_ARG(f->control));
	if (str_find(f->name, '/') >= 0 || str_find(f->version, '/') >= 0 || str_find(f->platform, '/') >= 0 ||
	    str_find(f->source, '/') >= 0 || f->source.p[0] == '.')
		panic("a name that is a path in '%.*s'", STR_ARG(f->control));
}

static void read_deb(struct str bytes)
{
	struct err e = ERR_INIT;
	struct deb_file f = {.path = path};
	if (fs_replace(AT_FDCWD, path, bytes.p, bytes.n, 0, &e) < 0)
		panic("%s", e.msg);
	if (deb_file_read(&f, &e) == 0)
		check(&f);
	deb_file_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_of((const char *)data, size);
	auto_buf deb = BUF_INIT(BUF_MAX);
	if (!path[0]) {
		(void)fuzz_dir();
		snprintf(path, sizeof(path), "%s/x.deb", fuzz_folder);
		atexit(clean);
	}
	read_deb(s);
	deb_put(&deb, s);
	read_deb(buf_str(&deb));
	return 0;
}
