// SPDX-License-Identifier: Apache-2.0
/* The kinds of channels, and what holds for all of them. */
#include "channel/kind.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"

static const struct channel_kind *const kinds[] = {&kind_conda, &kind_deb, &kind_opam,	 &kind_plan,
						   &kind_pypi,	&kind_rpm, &kind_takeout};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

const struct channel_kind *channel_kind(struct str name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (str_eq(str_c(kinds[i]->name), name))
			return kinds[i];
	return NULL;
}

const char *channel_kind_name(const struct channel_kind *k)
{
	return k->name;
}

bool channel_path_is_normal(struct str path)
{
	return path.n <= CHANNEL_PATH_MAX && fs_path_is_inside(path);
}

/* "1.root.json", "linux-64/DIGEST.repodata.json": neither ever changes. */
static enum channel_file signed_file(struct str whole)
{
	struct str path = str_skip(whole, sizeof(CHANNEL_SIGNED));
	uint8_t digest[SHA256_SIZE];
	uint64_t version;
	if (str_search(path, STR("/.")) >= 0)
		return CHANNEL_FILE_NONE;
	if (str_take_str(&path, STR("metadata/"))) {
		if (str_eq(path, STR("timestamp.json")))
			return CHANNEL_FILE_POINTER;
		return str_take_u64(&path, &version) && path.n && path.p[0] == '.' && str_find(path, '/') < 0 &&
				       str_ends(path, STR(".json"))
			       ? CHANNEL_FILE_PACKAGE
			       : CHANNEL_FILE_NONE;
	}
	return channel_signed_digest(whole, digest) ? CHANNEL_FILE_PACKAGE : CHANNEL_FILE_NONE;
}

bool channel_signed_digest(struct str path, uint8_t ret[SHA256_SIZE])
{
	if (!str_take_str(&path, STR(CHANNEL_SIGNED "/targets/")))
		return false;
	struct str name = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	return name.n > SHA256_HEX_SIZE && name.p[SHA256_HEX_SIZE - 1] == '.' &&
	       str_unhex(str_head(name, SHA256_HEX_SIZE - 1), ret, SHA256_SIZE);
}

enum channel_file channel_kind_file(const struct channel_kind *k, struct str path)
{
	if (!channel_path_is_normal(path))
		return CHANNEL_FILE_NONE;
	return str_starts(path, STR(CHANNEL_SIGNED "/")) ? signed_file(path) : k->file(path);
}

const char *channel_kind_type(const struct channel_kind *k, struct str path)
{
	static const struct {
		const char *end, *type;
	} types[] = {
		{".json", "application/json"},
		{".html", "text/html; charset=utf-8"},
		{".xml", "text/xml"},
		{".gz", "application/gzip"},
		{".zst", "application/zstd"},
		{".xz", "application/x-xz"},
		{".bz2", "application/x-bzip2"},
		{".deb", "application/vnd.debian.binary-package"},
		{".rpm", "application/x-rpm"},
		{".whl", "application/zip"},
		{".asc", "text/plain; charset=utf-8"},
	};
	const char *type = k->type ? k->type(path) : NULL;
	for (size_t i = 0; !type && i < sizeof(types) / sizeof(*types); i++)
		if (str_ends(path, str_c(types[i].end)))
			type = types[i].type;
	return type ? type : "application/octet-stream";
}

int channel_kind_index(const struct channel_kind *k, struct str folder, struct str accept, struct arena *a,
		       struct str *ret)
{
	return k->index && channel_path_is_normal(folder) ? k->index(folder, accept, a, ret) : 0;
}

/* -- which one is it? ---------------------------------------------------------------------------------------------- */

static bool has_file(int dir_fd, const char *name)
{
	struct stat st;
	return fstatat(dir_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

/* A part of the mark that holds '*' is looked for among the entries of its folder. */
static bool has_mark(int dir_fd, struct str mark)
{
	enum { ENTRIES_MAX = 10000 };
	struct err ignored = ERR_INIT;
	struct str part, rest = mark;
	bool last = !str_take_until(&rest, '/', &part);
	char name[CHANNEL_PATH_MAX];
	if (last)
		part = mark;
	if (str_find(part, '*') < 0) {
		snprintf(name, sizeof(name), "%.*s", STR_ARG(part));
		if (last)
			return has_file(dir_fd, name);
		auto_fd sub = fs_open_dir(dir_fd, name, &ignored);
		return sub >= 0 && has_mark(sub, rest);
	}
	auto_fs_list list = {0};
	bool found = false;
	if (fs_list(dir_fd, ".", ENTRIES_MAX, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; !found && i < list.n; i++) {
		if (!str_glob(part, str_c(list.name[i])))
			continue;
		auto_fd sub = last ? -1 : fs_open_dir(dir_fd, list.name[i], &ignored);
		found = last || (sub >= 0 && has_mark(sub, rest));
	}
	return found;
}

static bool is_marked(const struct channel_kind *k, int folder_fd)
{
	struct str marks = str_c(k->marks), mark;
	while (str_take_word(&marks, &mark))
		if (has_mark(folder_fd, mark))
			return true;
	return false;
}

const struct channel_kind *channel_kind_of(int folder_fd)
{
	const struct channel_kind *found = NULL;
	for (size_t i = 0; i < KINDS; i++) {
		if (!is_marked(kinds[i], folder_fd))
			continue;
		if (found)
			return NULL;
		found = kinds[i];
	}
	return found;
}

const struct channel_kind *channel_kind_of_package(struct str fn)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct str endings = str_c(kinds[i]->packages), end;
		while (str_take_word(&endings, &end))
			if (str_ends(fn, end))
				return kinds[i];
	}
	return NULL;
}

enum channel_signing channel_kind_signing(const struct channel_kind *k)
{
	return k->signing;
}

/* -- what is wanted ------------------------------------------------------------------------------------------------ */

bool walk_wants(const struct str *wanted, size_t n, struct str what)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(wanted[i], what))
			return true;
	return n == 0;
}

bool walk_wants_name(const struct channel_walk_opts *o, struct str name)
{
	for (size_t i = 0; i < o->names_n; i++)
		if (str_glob(o->names[i], name))
			return true;
	return o->names_n == 0;
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

static int cannot(const struct channel_kind *k, const char *what, struct err *e)
{
	return err_new(e, ERR_USAGE, "a %s channel cannot be %s", k->name, what);
}

int channel_walk_new(const struct channel_kind *k, int folder_fd, const struct channel_walk_opts *o,
		     struct channel_walk **ret, struct err *e)
{
	if (!k->walk_new)
		return cannot(k, "followed yet", e);
	if (k->walk_new(folder_fd, o, ret, e) < 0)
		return -1;
	(*ret)->kind = k;
	return 0;
}

int channel_walk_next(struct channel_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	return w->kind->walk_next(w, fn, ctx, e);
}

bool channel_walk_leads_away(const struct channel_walk *w)
{
	return w->leads_away;
}

void channel_walk_free(struct channel_walk *w)
{
	if (w)
		w->kind->walk_free(w);
}

bool channel_kind_address(const struct channel_kind *k, struct str path, struct arena *a, struct channel_item *ret)
{
	return k->address && channel_path_is_normal(path) && k->address(path, a, ret);
}

bool channel_kind_path_digest(const struct channel_kind *k, struct str path, struct digest_value *ret)
{
	if (channel_path_is_normal(path) && channel_signed_digest(path, ret->bytes)) {
		ret->kind = DIGEST_SHA256;
		ret->known = true;
		return true;
	}
	return k->path_digest && channel_path_is_normal(path) && k->path_digest(path, ret);
}

int channel_kind_learn(const struct channel_kind *k, const struct channel_came *c, struct str path, channel_item_fn *fn,
		       void *ctx, struct err *e)
{
	return k->learn && channel_path_is_normal(path) ? k->learn(c, path, fn, ctx, e) : 0;
}

/* Names may say nothing of how a file is packed (by-hash), or the wrong thing. */
int kind_open_packed(int dir, const char *path, uint64_t max, struct istream **ret, struct err *e)
{
	unsigned char head[6] = {0};
	auto_fd fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	if (pread(fd, head, sizeof(head), 0) < 0)
		return err_sys(e, "read '%s'", path);
	struct istream *in = istream_fd(steal_fd(&fd), path);
	if (memcmp(head, "\x1f\x8b", 2) == 0)
		in = istream_gz(in);
	else if (memcmp(head,
			"\xfd"
			"7zXZ",
			6) == 0)
		in = istream_xz(in);
	else if (memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0)
		in = istream_zstd(in);
	else if (memcmp(head, "BZh", 3) == 0)
		in = istream_bz2(in);
	*ret = istream_limit(in, max);
	return 0;
}

static int seal(const char *folder, const struct channel_make_opts *o, struct err *e)
{
	return o->seal && !o->dry_run && o->seal(o->seal_ctx, folder, e) < 0 ? -1 : 0;
}

int channel_kind_publish(const struct channel_kind *k, const char *folder, const char *const *files, size_t n,
			 const struct channel_make_opts *o, struct progress *p, struct err *e)
{
	if (!k->publish)
		return cannot(k, "published to yet", e);
	return k->publish(folder, files, n, o, p, e) < 0 ? -1 : seal(folder, o, e);
}

int channel_kind_rewrite(const struct channel_kind *k, int from_fd, const struct channel_walk_opts *from,
			 const char *folder, const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx,
			 struct err *e)
{
	if (!k->rewrite)
		return cannot(k, "made of a part of another yet", e);
	return k->rewrite(from_fd, from, folder, o, keep, ctx, e) < 0 ? -1 : seal(folder, o, e);
}

int channel_kind_remove(const struct channel_kind *k, const char *folder, const struct str *paths, size_t n,
			enum channel_removal how, struct str reason, const struct channel_make_opts *o, struct err *e)
{
	if (!k->remove)
		return cannot(k, "taken from yet", e);
	return k->remove(folder, paths, n, how, reason, o, e) < 0 ? -1 : seal(folder, o, e);
}
