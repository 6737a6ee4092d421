// SPDX-License-Identifier: Apache-2.0
/* Debian packages for tests: deb_put(&b, "Package: a\nVersion: 1\nArchitecture: all\n"). */
#pragma once

#include "base/compress.h"
#include "lib/archive.h"

static void deb_put_member(struct buf *b, const char *name, struct str s)
{
	buf_printf(b, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "100644", s.n);
	buf_put_str(b, s);
	if (s.n & 1)
		buf_put_char(b, '\n');
}

static void deb_put(struct buf *b, struct str control)
{
	struct err e = ERR_INIT;
	struct buf tar = BUF_INIT(BUF_MAX), packed = BUF_INIT(BUF_MAX), data = BUF_INIT(BUF_MAX);
	tar_put(&tar, &(struct tar_member){.name = "./control", .type = '0', .mode = 0644, .data = control});
	tar_end(&tar);
	tar_put(&data, &(struct tar_member){.name = "./usr/x", .type = '0', .mode = 0644, .data = control});
	tar_end(&data);
	if (compress_str(COMPRESS_GZIP, 0, buf_str(&tar), &packed, &e) < 0)
		panic("%s", e.msg);
	buf_put_c(b, "!<arch>\n");
	deb_put_member(b, "debian-binary", STR("2.0\n"));
	deb_put_member(b, "control.tar.gz", buf_str(&packed));
	deb_put_member(b, "data.tar", buf_str(&data));
	buf_release(&tar);
	buf_release(&packed);
	buf_release(&data);
}
