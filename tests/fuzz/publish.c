// SPDX-License-Identifier: Apache-2.0
/*
 * A package that somebody publishes: its file name on the first line, its info/index.json behind. What publishing takes,
 * everybody can read: the channel's index has it, nothing is left out, and a lock can hold it.
 */
#include "base/fs.h"
#include "index_read.h"
#include "lib/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int rc, const struct err *e)
{
	if (rc < 0)
		panic("%s", e->msg);
}

static void write_package(const char *path, const char *stem, struct str index, struct err *e)
{
	auto_buf info = BUF_INIT(BUF_MAX), pkg = BUF_INIT(BUF_MAX), file = BUF_INIT(BUF_MAX);
	tar_put(&info, &(struct tar_member){.name = "info/index.json", .type = '0', .mode = 0644, .data = index});
	tar_end(&info);
	tar_end(&pkg);
	if (str_ends(str_c(path), STR(".conda"))) {
		conda_put(&file, stem, buf_str(&info), buf_str(&pkg));
	} else {
		pack_bz2(&file, buf_str(&info));
	}
	must(fs_replace(AT_FDCWD, path, file.p, file.n, 0, e), e);
}

static unsigned read_back(int folder, const char *subdir)
{
	struct err e = ERR_INIT;
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_buf path = BUF_INIT(BUF_MAX);
	buf_printf(&path, "%s/repodata.json", subdir);
	must(fs_read(folder, path.p, &text, &e), &e);
	auto_ptr(index_builder) b = index_builder_new(fuzz_dir(), "x.idx", str_c(subdir), &e);
	auto_ptr(istream) in = istream_mem(buf_str(&text), "repodata.json");
	auto_ptr(index) ix = NULL;
	if (!b || index_builder_json(b, in, NULL, &e) < 0 || index_builder_finish(b, &e) < 0 ||
	    index_open(fuzz_dir(), "x.idx", &ix, &e) < 0)
		panic("%s: '%s'", e.msg, text.p);
	struct index_info info = index_info(ix);
	if (info.left_out)
		panic("left out: %.*s in '%s'", STR_ARG(info.left_out_first), text.p);
	fuzz_read(ix);
	must(index_check(ix, &e), &e);
	return info.packages;
}

static void check_channel(const char *channel)
{
	struct err e = ERR_INIT;
	auto_fs_list list = {0};
	unsigned packages = 0;
	auto_fd folder = fs_open_dir(AT_FDCWD, channel, &e);
	must(folder, &e);
	must(fs_list(folder, ".", 100, &list, &e), &e);
	for (size_t i = 0; i < list.n; i++)
		packages += read_back(folder, list.name[i]);
	if (packages != 1)
		panic("%u packages", packages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct channel_publish_opts opts = {0};
	struct str text = str_of((const char *)data, size), name;
	struct err e = ERR_INIT;
	if (!str_take_line(&text, &name) || !fs_path_is_inside(name) || str_find(name, '/') >= 0 || name.n > 200)
		return 0;
	(void)fuzz_dir();
	auto_free char *fn = str_dup(name), *path = xasprintf("%s/in/%s", fuzz_folder, fn);
	auto_free char *in = xasprintf("%s/in", fuzz_folder), *out = xasprintf("%s/out", fuzz_folder);
	auto_free char *stem = str_dup(str_head(name, name.n > 6 ? name.n - 6 : 0));
	must(fs_mkdirs(AT_FDCWD, in, 0700, &e), &e);
	must(fs_mkdirs(AT_FDCWD, out, 0700, &e), &e);
	write_package(path, stem, text, &e);
	const char *files[] = {path};
	if (channel_publish(out, files, 1, &opts, NULL, &e) == 0)
		check_channel(out);
	else if (!e.msg[0])
		panic("no reason");
	must(fs_remove_tree(AT_FDCWD, in, &e), &e);
	must(fs_remove_tree(AT_FDCWD, out, &e), &e);
	return 0;
}
