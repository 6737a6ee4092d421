// SPDX-License-Identifier: Apache-2.0
/* What is known of a channel's metadata between two runs, and the files it is kept in. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "channel/refresh.h"

enum { STATE_VERSION = 1, STATE_BYTES_MAX = 1 << 20 };

static const char *const variant_names[VARIANTS] = {
	[V_SHARDS] = "shards",
	[V_FULL] = "full",
	[V_CURRENT] = "current",
};

const char *variant_file(const struct source *s, const char *suffix)
{
	return arena_printf(s->a, "%s.%s.%s", s->sub, variant_names[s->order[s->at]], suffix);
}

char *source_url(const struct source *s, const char *file)
{
	/* channel URLs are bounded when they are parsed */
	return arena_printf(s->a, "%.*s/%s/%s", STR_ARG(s->channel->url), s->sub, file);
}

static int read_roots(struct source *s, const struct json *list)
{
	for (uint32_t i = 0; list && i < list->n && i < ROOTS_MAX; i++)
		if (list->item[i].type == JSON_STRING)
			vec_push(&s->state.roots, arena_str(s->a, list->item[i].string));
	return 0;
}

/* It becomes a header of a request. */
static void copy_text(char *to, size_t size, struct str from)
{
	for (size_t i = 0; i < from.n; i++)
		if ((unsigned char)from.p[i] < 0x20 || from.p[i] == 0x7f)
			return;
	if (from.n > 0 && from.n < size) {
		memcpy(to, from.p, from.n);
		to[from.n] = '\0';
	}
}

static int read_state(struct source *s, struct str text, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *roots = NULL, *j = json_parse(&a, text, "state", e);
	bool built = false;
	int64_t version = 0, candidate = 0, checked = 0, max_age = 0;
	struct str what = STR_NONE, etag = STR_NONE, modified = STR_NONE;
	if (!j || json_get_int(j, "version", &version, e) < 0 || json_get_str(j, "what", &what, e) < 0 ||
	    json_get_int(j, "candidate", &candidate, e) < 0 || json_get_int(j, "checked_ms", &checked, e) < 0 ||
	    json_get_int(j, "max_age_s", &max_age, e) < 0 || json_opt_str(j, "etag", &etag, e) < 0 ||
	    json_opt_str(j, "last_modified", &modified, e) < 0 || json_opt_bool(j, "built", &built, e) < 0 ||
	    json_opt_array(j, "roots", &roots, e) < 0)
		return -1;
	if (version != STATE_VERSION || candidate < 0 || candidate >= CANDIDATES_MAX || checked < 0)
		return err_new(e, ERR_INPUT, "another version of the state");
	struct state *st = &s->state;
	st->what = str_eq(what, STR("have"))	  ? STATE_HAVE
		   : str_eq(what, STR("missing")) ? STATE_MISSING
						  : STATE_UNKNOWN;
	st->candidate = (unsigned)candidate;
	st->checked_ms = checked;
	st->max_age_s = max_age;
	st->built = built;
	copy_text(st->etag, sizeof(st->etag), etag);
	copy_text(st->last_modified, sizeof(st->last_modified), modified);
	return read_roots(s, roots);
}

static void state_clear(struct state *st)
{
	vec_release(&st->roots);
	*st = (struct state){0};
}

/* A state that is not there or not readable is no state: everything is asked for anew. */
int state_load(struct source *s, struct err *e)
{
	auto_buf text = BUF_INIT(STATE_BYTES_MAX);
	struct err cause = ERR_INIT;
	state_clear(&s->state);
	if (fs_read(s->dir_fd, variant_file(s, "json"), &text, &cause) == 0) {
		if (read_state(s, buf_str(&text), &cause) < 0)
			state_clear(&s->state);
		return 0;
	}
	if (cause.code == ERR_NOT_FOUND)
		return 0;
	*e = cause;
	return -1;
}

int state_save(const struct source *s, struct err *e)
{
	static const char *const words[] = {
		[STATE_UNKNOWN] = "unknown", [STATE_HAVE] = "have", [STATE_MISSING] = "missing"};
	const struct state *st = &s->state;
	auto_buf b = BUF_INIT(STATE_BYTES_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_int(&w, "version", STATE_VERSION);
	jw_kv_c(&w, "what", words[st->what]);
	jw_kv_int(&w, "candidate", st->candidate);
	jw_kv_int(&w, "checked_ms", st->checked_ms);
	jw_kv_int(&w, "max_age_s", st->max_age_s);
	jw_kv_c(&w, "etag", st->etag);
	jw_kv_c(&w, "last_modified", st->last_modified);
	jw_kv_bool(&w, "built", st->built);
	jw_key(&w, "roots");
	jw_array(&w);
	vec_foreach(root, &st->roots)
		jw_str(&w, *root);
	jw_array_end(&w);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return fs_replace(s->dir_fd, variant_file(s, "json"), b.p, b.n, 0, e);
}

void cache_tidy(int dir_fd, struct str prefix)
{
	enum { FILES_MAX = 1 << 20 };
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(dir_fd, ".", FILES_MAX, &list, &ignored) < 0)
		return;
	for (size_t i = 0; i < list.n; i++) {
		struct str name = str_c(list.name[i]);
		str_take_char(&name, '.');
		if (str_starts(name, prefix) && str_ends(name, STR(".tmp")))
			(void)sys_unlinkat(dir_fd, list.name[i], 0);
	}
}

int source_lock(struct source *s, struct err *e)
{
	enum { LOCK_WAIT_MS = 600000 };
	const char *name = arena_printf(s->a, "%s.lock", s->sub);
	if (s->lock_fd >= 0)
		return 0;
	s->lock_fd = fs_lock(s->dir_fd, name, LOCK_WAIT_MS, e);
	if (s->lock_fd < 0)
		return err_ctx(e, "index of channel '%.*s', subdir '%s'", STR_ARG(s->channel->shown), s->sub);
	cache_tidy(s->dir_fd, str_c(arena_printf(s->a, "%s.", s->sub)));
	return 0;
}

int cache_tmp(int dir_fd, struct err *e)
{
	int fd = sys_openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* a file system without unnamed files */
	char name[64];
	snprintf(name, sizeof(name), "fetch.%d.tmp", (int)getpid());
	fd = sys_openat(dir_fd, name, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "create '%s' in the index folder", name);
	(void)sys_unlinkat(dir_fd, name, 0);
	return fd;
}

int cache_slurp(int fd, struct buf *b, const char *what, struct err *e)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read '%s'", what);
	for (;;) {
		buf_reserve(b, 64 << 10);
		char piece[16 << 10];
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n < 0)
			return err_sys(e, "read '%s'", what);
		if (n == 0)
			return 0;
		buf_put(b, piece, (size_t)n);
		if (b->overflow)
			return err_new(e, ERR_LIMIT, "'%s' is larger than %zu bytes", what, b->max);
	}
}
