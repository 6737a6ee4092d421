// SPDX-License-Identifier: Apache-2.0
#include "cmd/channel_part.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "cmd/channel_sign.h"

enum { FILE_MAX = 16 << 20, PIECE = 1 << 30 };

struct part {
	struct cmd_context *c;
	const struct cmd_part_args *a;
	VEC(struct str) wanted;
	VEC(struct str) platforms;
	struct channel_closure *closure;
	int from_fd, to_fd;
	struct cmd_list added;
};

static void part_release(struct part *p)
{
	vec_release(&p->wanted);
	vec_release(&p->platforms);
	vec_release(&p->added);
	channel_closure_free(p->closure);
	cleanup_fd(&p->from_fd);
	cleanup_fd(&p->to_fd);
}

const struct channel_kind *cmd_part_kind(const char *folder)
{
	struct err ignored = ERR_INIT;
	auto_fd fd = fs_open_dir(AT_FDCWD, folder, &ignored);
	const struct channel_kind *k = fd >= 0 ? channel_kind_of(fd) : NULL;
	return k == channel_kind(STR("deb")) ? k : NULL;
}

static int read_wanted(struct part *p, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	struct str rest, line, one;
	if (fs_read_any(AT_FDCWD, p->a->file, &b, e) < 0)
		return -1;
	for (rest = arena_str(&p->c->arena, buf_str(&b)); str_take_line(&rest, &line);) {
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		while (str_take_until(&line, ',', &one))
			if (str_trim(one).n)
				vec_push(&p->wanted, str_trim(one));
		if (str_trim(line).n)
			vec_push(&p->wanted, str_trim(line));
	}
	return p->wanted.n ? 0
			   : err_new(e, ERR_INPUT, "%s: no line with packages, such as: nginx (>= 1.22)", p->a->file);
}

static int copy(struct part *p, const char *path, struct err *e)
{
	auto_free char *folder = xstrdup(path), *tmp = xasprintf("%s.tmp", path);
	char *slash = strrchr(folder, '/');
	if (slash)
		*slash = '\0';
	if (slash && fs_mkdirs(p->to_fd, folder, 0755, e) < 0)
		return -1;
	if (sys_linkat(p->from_fd, path, p->to_fd, path, 0) == 0 || errno == EEXIST)
		return 0;
	auto_fd in = openat(p->from_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return err_sys(e, "open '%s/%s'", p->a->from, path);
	auto_fd out = sys_openat(p->to_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (out < 0)
		return err_sys(e, "create '%s/%s'", p->a->to, tmp);
	for (ssize_t n = 1; n > 0;) {
		n = sys_copy_file_range(in, NULL, out, NULL, PIECE);
		if (n < 0)
			return err_sys(e, "copy '%s/%s'", p->a->from, path);
	}
	if (sys_fsync(out) < 0 || sys_renameat(p->to_fd, tmp, p->to_fd, path) < 0)
		return err_sys(e, "put '%s/%s' in place", p->a->to, path);
	return 0;
}

/* Brings the file before the metadata that name it. */
static int keep(void *ctx, const struct channel_item *item, struct err *e)
{
	struct part *p = ctx;
	struct stat st;
	if (!channel_closure_has(p->closure, item->path))
		return 0;
	const char *path = arena_strdup(&p->c->arena, item->path);
	if (p->to_fd >= 0 && fstatat(p->to_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (uint64_t)st.st_size == item->size)
		return 1;
	for (size_t i = p->added.n; i-- > 0;)
		if (p->c->dry_run && str_eq_c(item->path, p->added.v[i]))
			return 1; /* in another index */
	vec_push(&p->added, path);
	return p->c->dry_run || copy(p, path, e) == 0 ? 1 : -1;
}

static int answer(struct part *p)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "sync");
	jw_kv_bool(w, "dry_run", p->c->dry_run);
	jw_kv_c(w, "folder", p->a->to);
	jw_kv_int(w, "packages", (int64_t)channel_closure_count(p->closure));
	jw_key(w, "new");
	jw_array(w);
	vec_foreach(x, &p->added)
		jw_c(w, *x);
	jw_array_end(w);
	jw_key(w, "unmet");
	jw_array(w);
	for (size_t i = 0; channel_closure_unmet(p->closure, i).p; i++)
		jw_str(w, channel_closure_unmet(p->closure, i));
	jw_array_end(w);
	return cmd_answer_print(p->c, &a);
}

static int make(struct part *p, const struct channel_kind *k, struct err *e)
{
	struct str platforms = str_c(p->a->platforms), one, suite = str_c(p->a->suite),
		   component = str_c(p->a->component);
	struct channel_signer signer = {0};
	while (str_take_until(&platforms, ',', &one))
		vec_push(&p->platforms, one);
	if (platforms.n)
		vec_push(&p->platforms, platforms);
	const struct channel_walk_opts from = {.platforms = p->platforms.v,
					       .platforms_n = p->platforms.n,
					       .suites = &suite,
					       .suites_n = suite.n ? 1 : 0,
					       .components = &component,
					       .components_n = component.n ? 1 : 0};
	int is_signed = cmd_channel_signer(p->c, p->a->key, p->a->is_unsigned, k, &signer, e);
	if (is_signed < 0 ||
	    channel_kind_closure(k, p->from_fd, &from, p->wanted.v, p->wanted.n, 0, &p->closure, e) < 0)
		return -1;
	p->to_fd = p->c->dry_run ? open(p->a->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				 : fs_open_dir_make(AT_FDCWD, p->a->to, e);
	if (p->to_fd < 0 && !p->c->dry_run)
		return -1;
	struct channel_make_opts o = {.dry_run = p->c->dry_run, .signer = is_signed ? &signer : NULL};
	struct cmd_seal seal = {.c = p->c, .kind = k};
	cmd_seal_with(&seal, &o);
	return channel_kind_rewrite(k, p->from_fd, &from, p->a->to, &o, keep, p, e);
}

int cmd_channel_part(struct cmd_context *c, const struct cmd_part_args *a, struct err *e)
{
	cleanup_with(part_release) struct part p = {.c = c, .a = a, .from_fd = -1, .to_fd = -1};
	if (!a->to)
		return err_new(e, ERR_USAGE,
			       "into which folder? as in: slipway channel sync --from %s --file %s FOLDER", a->from,
			       a->file);
	p.from_fd = fs_open_dir(AT_FDCWD, a->from, e);
	if (p.from_fd < 0 || read_wanted(&p, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_if_interrupted(c, "'%s' lists what it listed before; the same command goes on", a->to);
	if (make(&p, cmd_part_kind(a->from), e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	for (size_t i = 0; channel_closure_unmet(p.closure, i).p; i++)
		cmd_say(c, "note: there is no %.*s", STR_ARG(channel_closure_unmet(p.closure, i)));
	cmd_say(c, "%s%zu package%s in '%s', %zu of them new", c->dry_run ? "would list " : "",
		channel_closure_count(p.closure), channel_closure_count(p.closure) == 1 ? "" : "s", a->to, p.added.n);
	return c->json ? answer(&p) : CMD_OK;
}
