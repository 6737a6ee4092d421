// SPDX-License-Identifier: Apache-2.0
/*
 * What an upstream archive serves: the input once as Release, and once as the Packages that a good Release names. Whatever is
 * told of has a path that stays inside and, where it is a package, size and digest.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "channel/deb.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int tell(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)ctx;
	(void)e;
	if (!channel_path_is_normal(item->path))
		panic("the path '%.*s'", STR_ARG(item->path));
	if (item->what == CHANNEL_FILE_PACKAGE && (!item->digest.known || !item->name.p || !item->version.p))
		panic("a package without digest, name or version");
	return 0;
}

static void clean(void)
{
	static const char *const names[] = {"Release", "Packages", "Sources"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(fuzz_dir(), names[i], 0);
}

static void put(const char *path, struct str s)
{
	struct err e = ERR_INIT;
	if (fs_replace(fuzz_dir(), path, s.p, s.n, 0, &e) < 0)
		panic("%s", e.msg);
}

static void walk(void)
{
	struct err e = ERR_INIT;
	const struct str suite = STR("./"), extras = STR("*x*");
	const struct channel_walk_opts o = {.suites = &suite, .suites_n = 1, .extras = &extras, .extras_n = 1};
	auto_ptr(channel_walk) w = NULL;
	if (channel_walk_new(channel_kind(STR("deb")), fuzz_dir(), &o, &w, &e) < 0)
		panic("%s", e.msg);
	while (channel_walk_next(w, tell, NULL, &e) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_of((const char *)data, size);
	auto_buf release = BUF_INIT(1 << 16);
	uint8_t sum[SHA256_SIZE];
	int64_t ms;
	static bool begun;
	if (!begun) {
		(void)fuzz_dir();
		atexit(clean);
		begun = true;
	}
	put("Release", s);
	walk();
	sha256(data, size, sum);
	for (int source = 0; source < 2; source++) {
		buf_clear(&release);
		buf_put_c(&release, "SHA256:\n ");
		buf_put_hex(&release, sum, sizeof(sum));
		buf_printf(&release, " %zu %s\n", size, source ? "Sources" : "Packages");
		put("Release", buf_str(&release));
		put(source ? "Sources" : "Packages", s);
		walk();
	}
	if (deb_date_parse(s, &ms)) {
		auto_buf b = BUF_INIT(100);
		int64_t again;
		deb_date_put(&b, ms);
		if (!deb_date_parse(buf_str(&b), &again) || again != ms)
			panic("'%.*s' is '%s'", STR_ARG(s), b.p);
	}
	return 0;
}
