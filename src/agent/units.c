// SPDX-License-Identifier: Apache-2.0
/* Unit files, and systemctl(1). */
#include "agent/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"

enum { UNITS_MAX = 65536, UNIT_BYTES_MAX = 1 << 20, RELOAD_MS = 90000, SAID_MAX = 1 << 16 };

void units_release(struct unit_list *l)
{
	vec_release(l);
}

int units_open(struct systemd *s, struct err *e)
{
	if (s->unit_fd < 0)
		s->unit_fd = fs_open_dir_make(AT_FDCWD, s->unit_path, e);
	return s->unit_fd < 0 ? -1 : 0;
}

bool units_is_service(const struct unit *u)
{
	return str_ends(str_c(u->name), STR(".service"));
}

bool units_is_socket(const struct unit *u)
{
	return str_ends(str_c(u->name), STR(".socket"));
}

bool units_is_private(const struct unit *u)
{
	return units_is_socket(u) && str_find(str_c(u->name), '@') >= 0;
}

bool units_starts_at_boot(const struct systemd *s, const struct unit *u)
{
	auto_free char *link = xasprintf("%s.target.wants/%s", s->of_user ? "default" : "multi-user", u->name);
	return s->unit_fd >= 0 && fs_exists(s->unit_fd, link);
}

const struct unit *units_find(const struct unit_list *l, const char *name)
{
	vec_foreach(u, l)
		if (strcmp(u->name, name) == 0)
			return u;
	return NULL;
}

static struct str between(struct str text, struct str from, struct str to)
{
	ptrdiff_t at = str_search(text, from);
	struct str rest = at < 0 ? STR_NONE : str_skip(text, (size_t)at);
	ptrdiff_t end = str_search(rest, to);
	return end < 0 ? rest : str_head(rest, (size_t)end);
}

static struct str next_line_of_socket(struct str *rest)
{
	struct str line;
	while (str_take_line(rest, &line))
		if (line.n && !str_starts(line, STR("Service=")))
			return line;
	return STR_NONE;
}

bool units_same_socket(const struct unit *x, const struct unit *y)
{
	struct str a = between(x->text, STR("[Socket]"), STR("\n\n")),
		   b = between(y->text, STR("[Socket]"), STR("\n\n"));
	for (;;) {
		struct str line = next_line_of_socket(&a);
		if (!str_eq(line, next_line_of_socket(&b)))
			return false;
		if (!line.n)
			return true;
	}
}

bool units_same_address(const struct unit *x, const struct unit *y)
{
	return str_eq(between(x->text, STR("ListenStream="), STR("\n")),
		      between(y->text, STR("ListenStream="), STR("\n")));
}

static void read_mark(struct unit *u)
{
	struct str rest = between(u->text, STR("\n[X-Slipway]\n"), STR("\n\n")), line;
	rest = str_skip(rest, 1);
	while (str_take_line(&rest, &line)) {
		uint64_t n = 0;
		if (str_take_str(&line, STR("Root=")))
			u->root = line;
		else if (str_take_str(&line, STR("Environment=")))
			u->env = line;
		else if (str_take_str(&line, STR("Service=")))
			u->service = line;
		else if (str_take_str(&line, STR("Generation=")) && str_to_u64(line, &n) && n <= UINT32_MAX)
			u->generation = (uint32_t)n;
	}
}

static int read_unit(const struct systemd *s, struct arena *a, const char *name, struct unit *ret, struct err *e)
{
	auto_buf b = BUF_INIT(UNIT_BYTES_MAX);
	if (fs_read(s->unit_fd, name, &b, e) < 0)
		return err_ctx(e, "units in '%s'", s->unit_path);
	*ret = (struct unit){.name = arena_strdup(a, str_c(name)), .text = str_c(arena_strdup(a, buf_str(&b)))};
	read_mark(ret);
	return 0;
}

static bool is_unit_name(struct str name)
{
	return str_starts(name, STR("slipway-")) &&
	       (str_ends(name, STR(".service")) || str_ends(name, STR(".socket")) || str_ends(name, STR(".target")));
}

int units_list(struct systemd *s, struct arena *a, struct str env, struct str service, struct unit_list *ret,
	       struct err *e)
{
	auto_fs_list names = {0};
	if (s->unit_fd < 0 && !fs_exists(AT_FDCWD, s->unit_path))
		return 0;
	if (units_open(s, e) < 0 || fs_list(s->unit_fd, ".", UNITS_MAX, &names, e) < 0)
		return err_ctx(e, "units in '%s'", s->unit_path);
	for (size_t i = 0; i < names.n; i++) {
		struct unit u;
		struct err gone = ERR_INIT;
		if (!is_unit_name(str_c(names.name[i])) || read_unit(s, a, names.name[i], &u, &gone) < 0)
			continue; /* what cannot be read is not ours */
		if (str_eq_c(u.root, s->root_path) && (!env.n || str_eq(u.env, env)) &&
		    (!service.n || str_eq(u.service, service)))
			vec_push(ret, u);
	}
	return 0;
}

static void make_one(struct arena *a, struct buf *name, struct buf *text, struct unit_list *ret)
{
	struct unit u = {.name = arena_strdup(a, buf_str(name)), .text = str_c(arena_strdup(a, buf_str(text)))};
	read_mark(&u);
	vec_push(ret, u);
	buf_clear(name);
	buf_clear(text);
}

void units_make(const struct systemd *s, struct arena *a, const struct service_ref *r, struct str after,
		struct unit_list *ret)
{
	auto_buf name = BUF_INIT(4096);
	auto_buf text = BUF_INIT(UNIT_BYTES_MAX);
	service_unit_name(r, &name);
	service_put_unit(r, s->root_path, s->of_user, after, &text);
	make_one(a, &name, &text, ret);
	service_target_name(r, &name);
	service_put_target(r, s->root_path, &text);
	make_one(a, &name, &text, ret);
	for (uint32_t i = 0; i < r->decl->sockets_n; i++) {
		service_socket_unit_name(r, i, &name);
		service_put_socket_unit(r, i, s->root_path, &text);
		make_one(a, &name, &text, ret);
	}
}

/* Of the same name, but not of this ROOT's service. */
static int refuse_foreign(const struct systemd *s, struct arena *a, const struct unit *mine, struct err *e)
{
	struct unit there = {0};
	struct err other = ERR_INIT; /* a folder, a pipe, a link to nothing: nobody's, and in the way */
	if (!fs_exists(s->unit_fd, mine->name))
		return 0;
	if (read_unit(s, a, mine->name, &there, &other) == 0 && str_eq(there.root, mine->root) &&
	    str_eq(there.env, mine->env) && str_eq(there.service, mine->service))
		return 0;
	return there.root.n
		       ? err_new(e, ERR_EXISTS,
				 "'%s/%s' is the unit of service '%.*s' of environment '%.*s' in '%.*s': give one of them "
				 "another name",
				 s->unit_path, mine->name, STR_ARG(there.service), STR_ARG(there.env),
				 STR_ARG(there.root))
		       : err_new(e, ERR_EXISTS, "'%s/%s' was not written by slipway; move it away", s->unit_path,
				 mine->name);
}

static int write_units(struct systemd *s, struct arena *a, const struct unit_list *want, struct err *e)
{
	vec_foreach(u, want)
		if (refuse_foreign(s, a, u, e) < 0)
			return -1;
	vec_foreach(u, want)
		if (fs_replace(s->unit_fd, u->name, u->text.p, u->text.n, FS_REPLACE_SYNC, e) < 0)
			return err_ctx(e, "unit in '%s'", s->unit_path);
	return 0;
}

/* Those that have something to say of a boot. */
static int enable(const struct systemd *s, bool on, const struct unit_list *l, const struct unit_list *but,
		  struct err *e)
{
	const char *words[CTL_WORDS_MAX] = {on ? "enable" : "disable", "--quiet", "--no-reload"};
	size_t n = 3;
	vec_foreach(u, l)
		if ((!but || !units_find(but, u->name)) && str_search(u->text, STR("\n[Install]\n")) >= 0 &&
		    n + 1 < CTL_WORDS_MAX)
			words[n++] = u->name;
	return n > 3 ? ctl_run(s, words, RELOAD_MS, NULL, e) : 0;
}

/* What RemoveOnStop= does not see: the file of a private socket that a power cut ended. */
static void remove_socket_file(const struct systemd *s, const struct unit *u)
{
	struct str rest = str_c(u->name), name;
	size_t base = strlen("slipway--") + u->env.n + u->service.n + 1;
	if (str_search(u->text, STR("\nSocketMode=0600\n")) < 0 || rest.n <= base)
		return;
	rest = str_skip(rest, base);
	auto_free char *dir = xasprintf("run/%.*s/%.*s", STR_ARG(u->env), STR_ARG(u->service));
	auto_free char *path = str_take_until(&rest, '@', &name)
				       ? service_private_path(dir, name, u->generation)
				       : xasprintf("%s/%.*s.sock", dir, (int)(rest.n - strlen(".socket")), rest.p);
	(void)sys_unlinkat(s->root_fd, path, 0);
}

static int remove_units(struct systemd *s, const struct unit_list *have, const struct unit_list *but, struct err *e)
{
	if (enable(s, false, have, but, e) < 0)
		return -1;
	vec_foreach(u, have) {
		if (units_find(but, u->name))
			continue;
		remove_socket_file(s, u);
		if (sys_unlinkat(s->unit_fd, u->name, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s/%s'", s->unit_path, u->name);
	}
	return 0;
}

int units_add(struct systemd *s, struct arena *a, const struct unit_list *l, struct err *e)
{
	return units_open(s, e) < 0 || write_units(s, a, l, e) < 0 ? -1 : ctl(s, RELOAD_MS, e, "daemon-reload");
}

/* systemctl makes and removes links, and folders for them, and syncs nothing. */
static int sync_folders(const struct systemd *s, struct err *e)
{
	static const char *const ours[] = {"default.target.wants", "multi-user.target.wants", "sockets.target.wants"};
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
		struct err why = ERR_INIT;
		if (fs_sync_dir(s->unit_fd, ours[i], &why) < 0 && why.code != ERR_NOT_FOUND) {
			*e = why;
			return -1;
		}
	}
	return fs_sync_dir(s->unit_fd, ".", e);
}

static int end_change(const struct systemd *s, struct err *e)
{
	if (sync_folders(s, e) < 0)
		return err_ctx(e, "units in '%s'", s->unit_path);
	return ctl(s, RELOAD_MS, e, "daemon-reload");
}

int units_enable(struct systemd *s, const char *name, struct err *e)
{
	return ctl(s, RELOAD_MS, e, "enable", "--quiet", "--no-reload", name) < 0 ? -1 : end_change(s, e);
}

/* What starts at a boot is for a moment both, never none: on the disk, too. */
int units_put(struct systemd *s, struct arena *a, const struct unit_list *have, const struct unit_list *want,
	      struct err *e)
{
	return units_open(s, e) < 0 || write_units(s, a, want, e) < 0 || enable(s, true, want, NULL, e) < 0 ||
			       sync_folders(s, e) < 0 || remove_units(s, have, want, e) < 0
		       ? -1
		       : end_change(s, e);
}

int units_take_back(struct systemd *s, struct arena *a, const struct unit_list *tried, const struct unit_list *had,
		    struct err *e)
{
	return units_open(s, e) < 0 || write_units(s, a, had, e) < 0 || remove_units(s, tried, had, e) < 0
		       ? -1
		       : end_change(s, e);
}

/* The last line that has something to say. */
static struct str last_line(struct str said)
{
	struct str line, last = STR("it said nothing");
	while (str_take_line(&said, &line))
		if (str_trim(line).n)
			last = str_trim(line);
	return last;
}

int ctl_run(const struct systemd *s, const char *const *words, int64_t deadline_ms, struct buf *out, struct err *e)
{
	const char *argv[CTL_WORDS_MAX + 4] = {"systemctl"};
	auto_buf said = BUF_INIT(SAID_MAX);
	auto_buf ignored = BUF_INIT(SAID_MAX);
	size_t n = 1;
	if (s->of_user)
		argv[n++] = "--user";
	argv[n++] = "--no-ask-password";
	for (size_t i = 0; words[i]; i++)
		argv[n++] = words[i];
	const struct proc_opts o = {
		.argv = argv, .out = out ? out : &ignored, .errout = &said, .deadline_ms = deadline_ms};
	int status = proc_run(&o, e);
	if (status < 0)
		return err_ctx(e, "systemctl %s", words[0]);
	if (status == 0)
		return 0;
	return err_new(e, ERR_FAILED, "systemctl %s %s: %.*s", words[0], words[1] ? words[1] : "",
		       STR_ARG(last_line(buf_str(&said))));
}
