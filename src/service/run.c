// SPDX-License-Identifier: Apache-2.0
/*
 * doc/formats/run.md: what runs, written down, and taken over from there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/sys.h"
#include "service/supervisor.h"

enum {
	RUN_FORMAT = 1,
	RUN_MAX_BYTES = 2 << 20,
	ENVS_MAX = 10000,
	FILES_MAX = 100000,
	PROCESSES_MAX = 64,
	FDS_TRIED = 1024
};

static const char *const role_names[] = {"serving", "coming", "leaving"};

static int boot_id(struct buf *b, struct err *e)
{
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", b, e) < 0)
		return -1;
	buf_truncate(b, str_trim(buf_str(b)).n);
	return 0;
}

/* == writing ====================================================================================================== */
static void put_process(struct jw *w, const struct process *p)
{
	jw_object(w);
	jw_kv_int(w, "pid", p->pid);
	jw_kv_int(w, "start", (int64_t)p->start_ticks);
	jw_kv_c(w, "role", role_names[p->role]);
	jw_kv_int(w, "generation", p->generation);
	jw_kv_int(w, "launch", p->launch);
	jw_kv_bool(w, "ready", p->ready);
	jw_kv_bool(w, "signalled", p->signalled);
	jw_kv_c(w, "stop_signal", signal_word(p->stop_signal));
	jw_kv_int(w, "stop_timeout_ms", p->stop_timeout_ms);
	jw_key(w, "sockets");
	jw_array(w);
	for (uint32_t i = 0; i < p->sockets_n; i++) {
		jw_object(w);
		jw_kv_str(w, "name", p->sockets[i].name);
		jw_kv_str(w, "address", p->sockets[i].is_private ? STR("private") : p->sockets[i].address);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}

int run_record(struct service *s, struct err *e)
{
	if (!s->version)
		return 0;
	auto_buf b = BUF_INIT(RUN_MAX_BYTES);
	auto_buf boot = BUF_INIT(100);
	struct jw w = JW_INIT(&b, 1);
	if (boot_id(&boot, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_int(&w, "format", RUN_FORMAT);
	jw_kv_str(&w, "boot", buf_str(&boot));
	jw_kv_c(&w, "env", s->env);
	jw_kv_c(&w, "name", s->name);
	jw_kv_bool(&w, "wanted", s->wanted);
	jw_kv_int(&w, "restarts", s->restarts);
	jw_kv_int(&w, "launches", s->launches);
	jw_key(&w, "version");
	jw_object(&w);
	jw_kv_int(&w, "generation", s->version->generation);
	jw_kv_c(&w, "prefix", s->version->prefix);
	jw_kv_str(&w, "component", s->version->decl.component);
	jw_key(&w, "declaration");
	decl_put(&w, &s->version->decl);
	jw_object_end(&w);
	jw_key(&w, "processes");
	jw_array(&w);
	for (const struct process *p = s->processes; p; p = p->next)
		if (p->pid > 0)
			put_process(&w, p);
	jw_array_end(&w);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "what runs as service '%s' takes more than %d bytes", s->name,
			       RUN_MAX_BYTES);
	auto_free char *fn = xasprintf("%s.json", s->name);
	return fs_replace(s->env_dirfd, fn, b.p, b.n, 0, e);
}

void run_forget(struct service *s)
{
	auto_free char *fn = xasprintf("%s.json", s->name);
	struct err e;
	(void)sys_unlinkat(s->env_dirfd, fn, 0);
	(void)fs_remove_tree(s->env_dirfd, s->name, &e);
}

/* == reading ====================================================================================================== */
static int get_number(const struct json *j, const char *key, int64_t max, int64_t *ret, struct err *e)
{
	if (json_get_int(j, key, ret, e) < 0)
		return -1;
	return *ret >= 0 && *ret <= max ? 0 : err_new(e, ERR_INPUT, "%s: '%s' is out of range", j->where, key);
}

static int read_sockets(struct process *p, const struct json *j, struct err *e)
{
	const struct json *list = NULL;
	if (json_opt_array(j, "sockets", &list, e) < 0)
		return -1;
	uint32_t n = list ? list->n : 0;
	if (n > SPAWN_FDS_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d sockets", j->where, SPAWN_FDS_MAX);
	p->sockets = arena_array(&p->arena, struct service_socket, n);
	for (uint32_t i = 0; i < n; i++) {
		struct str name, address;
		if (json_get_str(&list->item[i], "name", &name, e) < 0 ||
		    json_get_str(&list->item[i], "address", &address, e) < 0)
			return -1;
		if (!service_name_ok(name))
			return err_new(e, ERR_INPUT, "%s: bad name of a socket", j->where);
		p->sockets[i] = (struct service_socket){.name = arena_str(&p->arena, name),
							.address = arena_str(&p->arena, address),
							.is_private = str_eq(address, STR("private"))};
		p->sockets_n = i + 1;
	}
	return 0;
}

struct record {
	int64_t pid, start, generation, launch, stop_timeout_ms;
	bool ready, signalled;
	enum role role;
	int stop_signal;
};

static int read_record(const struct json *j, struct record *r, struct err *e)
{
	struct str role, stop_signal;
	bool known = false;
	if (get_number(j, "pid", INT32_MAX, &r->pid, e) < 0 || get_number(j, "start", INT64_MAX, &r->start, e) < 0 ||
	    get_number(j, "generation", UINT32_MAX, &r->generation, e) < 0 ||
	    get_number(j, "launch", UINT32_MAX, &r->launch, e) < 0 ||
	    get_number(j, "stop_timeout_ms", INT64_C(86400000), &r->stop_timeout_ms, e) < 0 ||
	    json_opt_bool(j, "ready", &r->ready, e) < 0 || json_opt_bool(j, "signalled", &r->signalled, e) < 0 ||
	    json_get_str(j, "role", &role, e) < 0 || json_get_str(j, "stop_signal", &stop_signal, e) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (str_eq_c(role, role_names[i])) {
			r->role = (enum role)i;
			known = true;
		}
	r->stop_signal = signal_of(stop_signal);
	return known && r->stop_signal && r->pid > 1 ? 0
						     : err_new(e, ERR_INPUT, "%s: bad record of a process", j->where);
}

/* 1 alive and taken over, 0 gone. */
static int read_process(struct service *s, const struct json *j, struct err *e)
{
	struct record r = {0};
	struct proc_stat st;
	if (read_record(j, &r, e) < 0)
		return -1;
	/* the descriptor first: if its start time is right after that, it is the one, and stays it */
	auto_fd pidfd = pidfd_open((pid_t)r.pid, 0);
	if (pidfd < 0 || !proc_stat_read((pid_t)r.pid, &st) || st.start_ticks != (uint64_t)r.start)
		return 0;
	if (st.ended) {
		if (st.parent == getpid()) /* this process was replaced by exec since */
			(void)waitpid((pid_t)r.pid, NULL, WNOHANG);
		return 0;
	}
	struct process *p = process_add(s, r.role, (pid_t)r.pid, steal_fd(&pidfd), (uint64_t)r.start);
	p->generation = (uint32_t)r.generation;
	p->launch = (uint32_t)r.launch;
	p->ready = true;
	p->signalled = r.signalled;
	p->stop_signal = r.stop_signal;
	p->stop_timeout_ms = r.stop_timeout_ms;
	if (read_sockets(p, j, e) < 0 || process_watch(p, e) < 0)
		return -1;
	return 1;
}

static int read_version(struct service *s, const struct json *j, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct version *v = arena_new(&a, struct version);
	const struct json *decl = NULL;
	struct str prefix, component;
	int64_t generation;
	auto_buf text = BUF_INIT(RUN_MAX_BYTES);
	struct jw w = JW_INIT(&text, 0);
	if (json_opt_object(j, "declaration", &decl, e) < 0 || !decl || json_get_str(j, "prefix", &prefix, e) < 0 ||
	    json_get_str(j, "component", &component, e) < 0 ||
	    get_number(j, "generation", UINT32_MAX, &generation, e) < 0) {
		arena_release(&a);
		return e->code ? -1 : err_new(e, ERR_INPUT, "%s: no 'declaration'", j->where);
	}
	jw_value(&w, decl);
	v->prefix = arena_strdup(&a, prefix);
	v->generation = (uint32_t)generation;
	if (decl_read(&a, buf_str(&text), component, str_c(s->name), &v->decl, e) < 0) {
		arena_release(&a);
		return -1;
	}
	v->arena = a;
	s->version = v;
	return 0;
}

static int read_all(struct service *s, const struct json *j, struct err *e)
{
	const struct json *version = NULL, *list = NULL;
	int64_t restarts, launches;
	if (json_opt_object(j, "version", &version, e) < 0 || json_opt_array(j, "processes", &list, e) < 0 ||
	    get_number(j, "restarts", UINT32_MAX, &restarts, e) < 0 ||
	    get_number(j, "launches", UINT32_MAX, &launches, e) < 0 || json_opt_bool(j, "wanted", &s->wanted, e) < 0)
		return -1;
	if (!version || !list || list->n > PROCESSES_MAX)
		return err_new(e, ERR_INPUT, "%s: bad 'version' or 'processes'", j->where);
	s->restarts = (uint32_t)restarts;
	s->launches = (uint32_t)launches;
	if (read_version(s, version, e) < 0)
		return -1;
	for (uint32_t i = list->n; i-- > 0;) /* the youngest stands first, and is added last */
		if (read_process(s, &list->item[i], e) < 0)
			return -1;
	return 0;
}

/* == taking over ================================================================================================== */
static int take_fd(const struct process *p, int its, const struct address *a)
{
	auto_fd fd = pidfd_getfd(p->pidfd, its, 0);
	return fd >= 0 && socket_is(fd, a) ? steal_fd(&fd) : -1;
}

/* Where it should be; else anywhere among what it has open: a program may have moved it. */
static int take_socket(const struct process *p, struct str address, const struct address *a)
{
	char path[64];
	for (uint32_t i = 0; i < p->sockets_n; i++)
		if (!p->sockets[i].is_private && str_eq(p->sockets[i].address, address)) {
			int fd = take_fd(p, 3 + (int)i, a);
			if (fd >= 0)
				return fd;
		}
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)p->pid);
	DIR *dir = opendir(path);
	struct dirent *d;
	int found = -1;
	for (int n = 0; dir && found < 0 && n < FDS_TRIED && (d = readdir(dir)); n++) {
		uint64_t number;
		if (str_to_u64(str_c(d->d_name), &number) && number < INT32_MAX)
			found = take_fd(p, (int)number, a);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void take_sockets(struct service *s)
{
	const struct service_decl *d = &s->version->decl;
	for (uint32_t i = 0; i < d->sockets_n; i++) {
		struct address a;
		struct err e;
		int fd = -1;
		if (d->sockets[i].is_private || address_parse(d->sockets[i].address, s->dir, &a, &e) < 0)
			continue;
		for (const struct process *p = s->processes; p && fd < 0; p = p->next)
			fd = take_socket(p, d->sockets[i].address, &a);
		if (fd >= 0)
			*vec_add(&s->held) = (struct held){.address = str_dup(d->sockets[i].address), .fd = fd};
	}
}

static void settle_processes(struct service *s)
{
	struct process *next;
	for (struct process *p = s->processes; p; p = next) {
		next = p->next;
		if (p->role == ROLE_SERVING)
			continue;
		if (p->signalled)
			process_await_end(p);
		else
			process_stop(p);
	}
}

static void adopt(struct service *s)
{
	struct err e;
	take_sockets(s);
	settle_processes(s);
	(void)run_record(s, &e);
	if (process_with(s, ROLE_SERVING)) {
		service_set_state(s, SERVICE_RUNNING, NULL);
		health_watch(s, true);
	} else {
		service_found_dead(s);
	}
}

/* 1 adopted, 0 nothing to adopt, -1 the file is bad. */
static int adopt_file(struct supervisor *sup, int env_dirfd, const char *env, const char *fn, struct str boot,
		      struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(RUN_MAX_BYTES);
	struct str name = str_of(fn, strlen(fn) - strlen(".json")), its_boot;
	int64_t format;
	if (fs_read(env_dirfd, fn, &text, e) < 0)
		return -1;
	if (text.n == 0) /* a power cut: nothing that it could have named is left */
		return sys_unlinkat(env_dirfd, fn, 0) < 0 ? err_sys(e, "remove '%s'", fn) : 0;
	const struct json *j = json_parse(&a, buf_str(&text), fn, e);
	if (!j || get_number(j, "format", INT32_MAX, &format, e) < 0 || json_get_str(j, "boot", &its_boot, e) < 0)
		return -1;
	if (!str_eq(its_boot, boot))
		return sys_unlinkat(env_dirfd, fn, 0) < 0 ? err_sys(e, "remove '%s'", fn) : 0;
	if (format != RUN_FORMAT)
		return err_new(e, ERR_UNSUPPORTED, "'%s' has format %lld, not %d", fn, (long long)format, RUN_FORMAT);
	if (service_find(sup, str_c(env), name))
		return 0;
	struct service *s = service_new(sup, str_c(env), name, e);
	if (!s)
		return -1;
	if (read_all(s, j, e) < 0) {
		service_forget(s);
		return -1;
	}
	if (!s->wanted && !s->processes) {
		run_forget(s);
		service_forget(s);
		return 0;
	}
	adopt(s);
	return 1;
}

/* What is wrong with the file itself stays wrong; anything else may be better the next time. */
static bool is_bad(const struct err *e)
{
	return e->code == ERR_INPUT || e->code == ERR_LIMIT || e->code == ERR_UNSUPPORTED;
}

/* A runtime folder without a run file: its supervisor died before the one was written or after it was removed. */
static int clear_folder(int env_dirfd, struct str folder, struct err *e)
{
	struct stat st;
	auto_free char *name = str_dup(folder);
	auto_free char *fn = xasprintf("%.*s.json", STR_ARG(folder));
	auto_free char *bad = xasprintf("%.*s.json.bad", STR_ARG(folder));
	if (fstatat(env_dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
	    fs_exists(env_dirfd, fn) || fs_exists(env_dirfd, bad))
		return 0;
	return fs_remove_tree(env_dirfd, name, e);
}

static int adopt_env(struct supervisor *sup, const char *env, struct str boot, struct err *e)
{
	struct err why = ERR_INIT;
	auto_fs_list list = {0};
	auto_fd dir = fs_open_dir(sup->run_dirfd, env, &why);
	int r = 0;
	if (dir < 0) /* no folder of ours */
		return 0;
	if (fs_list(dir, ".", FILES_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		const char *fn = list.name[i];
		why = ERR_INIT;
		if (fn[0] == '.')
			continue;
		if (!str_ends(str_c(fn), STR(".json"))) {
			if (clear_folder(dir, str_c(fn), &why) < 0)
				*e = why, r = -1;
			continue;
		}
		if (adopt_file(sup, dir, env, fn, boot, &why) >= 0)
			continue;
		auto_free char *bad = xasprintf("%s.bad", fn);
		if (!is_bad(&why) || sys_renameat(dir, fn, dir, bad) < 0) {
			*e = why;
			r = err_ctx(e, "'%s'", fn);
		}
	}
	return r;
}

int supervisor_adopt(struct supervisor *sup, struct err *e)
{
	auto_buf boot = BUF_INIT(100);
	auto_fs_list list = {0};
	if (boot_id(&boot, e) < 0 || fs_list(sup->run_dirfd, ".", ENVS_MAX, &list, e) < 0)
		return -1;
	int r = 0;
	for (size_t i = 0; i < list.n; i++) /* one that cannot be taken over does not keep the others from it */
		if (service_name_ok(str_c(list.name[i])) && adopt_env(sup, list.name[i], buf_str(&boot), e) < 0)
			r = err_ctx(e, "adopt the services of '%s'", list.name[i]);
	return r;
}
