// SPDX-License-Identifier: Apache-2.0
/* The file that tells of a layer, or of a state of a cache:
 *
 *	slipway-layer 1
 *	parent <id>            only where there is one
 *	created <ms>
 *	bytes <n>
 *	depth <n>
 *	words <n>
 *	                       an empty line, and n bytes, the maker's own
 *
 * Its time of change is when the layer was used last. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

enum { ABOUT_FILE_MAX = LAYER_ABOUT_MAX + 512 };

int about_put(struct buf *b, const struct layer_info *info, struct err *e)
{
	if (info->about.n > LAYER_ABOUT_MAX)
		return err_new(e, ERR_LIMIT, "what tells of a layer has %zu bytes, at most %d are kept", info->about.n,
			       LAYER_ABOUT_MAX);
	buf_put_c(b, "slipway-layer 1\n");
	if (*info->parent.hex)
		buf_printf(b, "parent %s\n", info->parent.hex);
	buf_printf(b, "created %" PRId64 "\nbytes %" PRIu64 "\ndepth %" PRIu32 "\nwords %zu\n\n", info->created_ms,
		   info->bytes, info->depth, info->about.n);
	buf_put_str(b, info->about);
	return 0;
}

int about_write(struct layers *l, const struct place *at, const struct layer_info *info, struct err *e)
{
	auto_buf b = BUF_INIT(ABOUT_FILE_MAX);
	struct place path = place_of("%s/about", at->s);
	if (about_put(&b, info, e) < 0)
		return -1;
	auto_fd fd = sys_openat(l->dir, path.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s/%s'", l->path, path.s);
	return fs_write_all(fd, b.p, b.n, path.s, e);
}

int about_replace(struct layers *l, const struct place *at, const struct layer_info *info, struct err *e)
{
	auto_buf b = BUF_INIT(ABOUT_FILE_MAX);
	struct place path = place_of("%s/about", at->s);
	return about_put(&b, info, e) < 0 ? -1 : fs_replace(l->dir, path.s, b.p, b.n, FS_REPLACE_SYNC, e);
}

static bool take_number(struct str *s, const char *key, uint64_t *ret)
{
	struct str line;
	return str_take_line(s, &line) && str_take_str(&line, str_c(key)) && str_take_char(&line, ' ') &&
	       str_to_u64(line, ret);
}

bool about_parse(struct str s, struct layer_info *ret)
{
	struct str line;
	uint64_t created, depth, words;
	*ret = (struct layer_info){0};
	if (!str_take_str(&s, STR("slipway-layer 1\n")))
		return false;
	if (str_take_str(&s, STR("parent ")) && (!str_take_line(&s, &line) || !layer_id_parse(line, &ret->parent)))
		return false;
	if (!take_number(&s, "created", &created) || !take_number(&s, "bytes", &ret->bytes) ||
	    !take_number(&s, "depth", &depth) || !take_number(&s, "words", &words) || !str_take_line(&s, &line) ||
	    line.n || s.n != words || depth > UINT32_MAX || created > INT64_MAX)
		return false;
	ret->created_ms = (int64_t)created;
	ret->depth = (uint32_t)depth;
	ret->about = s;
	return true;
}

int64_t about_used_ms(const struct timespec *changed)
{
	return (int64_t)changed->tv_sec * 1000 + changed->tv_nsec / 1000000;
}

int about_read(struct layers *l, const struct place *at, bool touch, struct arena *a, struct layer_info *ret,
	       struct err *e)
{
	struct stat st;
	struct place path = place_of("%s/about", at->s);
	auto_fd fd = openat(l->dir, path.s, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open '%s/%s'", l->path, path.s);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s/%s'", l->path, path.s);
	if (!S_ISREG(st.st_mode) || st.st_size > ABOUT_FILE_MAX)
		return err_new(e, ERR_INPUT, "'%s/%s' is no description of a layer", l->path, path.s);
	char *text = arena_alloc(a, (size_t)st.st_size + 1);
	ssize_t n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return err_sys(e, "read '%s/%s'", l->path, path.s);
	text[n] = '\0';
	if (!about_parse(str_of(text, (size_t)n), ret))
		return err_new(e, ERR_INPUT, "'%s/%s' is no description of a layer; remove that folder", l->path,
			       path.s);
	struct timespec used = st.st_mtim;
	if (touch) {
		const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
		(void)sys_futimens(fd, now); /* a hint for gc */
		(void)clock_gettime(CLOCK_REALTIME, &used);
	}
	ret->used_ms = about_used_ms(&used);
	return 1;
}
