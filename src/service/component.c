// SPDX-License-Identifier: Apache-2.0
/*
 * The reader of component files (doc/formats/component.md). One table of keys for each map; what is not in it is refused.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/yaml.h"
#include "service/internal.h"

enum {
	NAME_MAX_BYTES = 64,
	TEXT_MAX_BYTES = 4096,
	LIST_MAX = 256,
	SERVICES_MAX = 64,
	STATES_MAX = 64,
	CONFIGS_MAX = 256,
	SOCKETS_MAX = 16,
	PROBES_MAX = 16,
	AFTER_MAX = 32,
	VERSIONS_MAX_BYTES = 256,
	COUNT_MAX = 1000,
	COMPONENTS_MAX = 1024,
	SERVICES_OF_PREFIX_MAX = 1024,
	FILE_MAX_BYTES = 1 << 20,
	FOLDER_MAX = 10000,
};
#define DURATION_MAX_MS (INT64_C(24) * 3600 * 1000)
#define COMPONENT_DIR "share/slipway/component"

struct reader {
	struct arena *a;
	const char *where;
	struct str component;
};
struct key {
	const char *name;
	int (*read)(struct reader *r, const struct yaml *y, const char *what, void *into, struct err *e);
};

static bool is_letter(char c) /* or a digit */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool service_name_ok(struct str s)
{
	if (s.n == 0 || s.n > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!is_letter(c) && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}

/* == values ======================================================================================================= */
/* Control characters have no place in a name, a path or an argument, and would not come back from a run file. */
static bool is_clean(struct str s)
{
	while (s.n > 0) {
		uint32_t c;
		size_t n = utf8_take(s, &c);
		if (n == 0 || (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0) || c == 0xfeff)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

static int read_text(const struct yaml *y, const char *what, struct str *ret, struct err *e)
{
	struct str s;
	if (yaml_str(y, what, &s, e) < 0)
		return -1;
	if (s.n > TEXT_MAX_BYTES) {
		yaml_error(y, e, "'%s' has %zu bytes, more than %d", what, s.n, TEXT_MAX_BYTES);
		e->code = ERR_LIMIT;
		return -1;
	}
	if (!is_clean(s))
		return yaml_error(y, e, "'%s' holds a control character or is no UTF-8", what);
	*ret = s;
	return 0;
}

static int read_word(const struct yaml *y, const char *what, struct str *ret, struct err *e)
{
	struct str s;
	if (read_text(y, what, &s, e) < 0)
		return -1;
	if (s.n == 0 || str_find(s, '\n') >= 0)
		return yaml_error(y, e, "'%s' must be one line that is not empty", what);
	*ret = s;
	return 0;
}

static int check_n(const struct yaml *y, const char *what, uint32_t max, struct err *e)
{
	if (y->n <= max)
		return 0;
	yaml_error(y, e, "'%s' has %u entries, more than %u", what, y->n, max);
	e->code = ERR_LIMIT;
	return -1;
}

static int read_list(struct reader *r, const struct yaml *y, const char *what, const struct str **ret, uint32_t *ret_n,
		     struct err *e)
{
	if (y->type != YAML_LIST)
		return yaml_error(y, e, "'%s' must be a list of texts", what);
	if (check_n(y, what, LIST_MAX, e) < 0)
		return -1;
	struct str *list = arena_array(r->a, struct str, y->n);
	for (uint32_t i = 0; i < y->n; i++)
		if (read_text(&y->item[i], what, &list[i], e) < 0)
			return -1;
	*ret = list;
	*ret_n = y->n;
	return 0;
}

static int read_argv(struct reader *r, const struct yaml *y, const char *what, const struct str **ret, uint32_t *ret_n,
		     struct err *e)
{
	if (read_list(r, y, what, ret, ret_n, e) < 0)
		return -1;
	if (*ret_n == 0 || (*ret)[0].n == 0)
		return yaml_error(y, e, "'%s' names no program", what);
	if ((*ret)[0].p[0] != '/' && !fs_path_is_inside((*ret)[0]))
		return yaml_error(y, e, "the program '%.*s' must be an absolute path or one inside the prefix",
				  STR_ARG((*ret)[0]));
	return 0;
}

/* Numbers, letters, and what ties them together: no blank, no bracket that would begin another part of a spec. */
static bool is_versions(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_letter(s.p[i]) && !strchr("<>=!~,|.*+-_", s.p[i]))
			return false;
	}
	return true;
}

static int read_number(const struct yaml *y, const char *what, uint32_t min, uint32_t *ret, struct err *e)
{
	struct str s;
	uint64_t v;
	if (read_text(y, what, &s, e) < 0)
		return -1;
	if (!str_to_u64(s, &v) || v < min || v > COUNT_MAX)
		return yaml_error(y, e, "'%s' must be a number from %u to %d", what, min, COUNT_MAX);
	*ret = (uint32_t)v;
	return 0;
}

static int read_duration(const struct yaml *y, const char *what, int64_t min_ms, int64_t *ret, struct err *e)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	struct str s;
	uint64_t v;
	if (read_text(y, what, &s, e) < 0)
		return -1;
	if (str_take_u64(&s, &v))
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			if (!str_eq_c(s, units[i].unit) || v > (uint64_t)(DURATION_MAX_MS / units[i].ms))
				continue;
			*ret = (int64_t)v * units[i].ms;
			return *ret >= min_ms
				       ? 0
				       : yaml_error(y, e, "'%s' must be at least %lldms", what, (long long)min_ms);
		}
	return yaml_error(y, e, "'%s' must be a time like 500ms, 30s, 2m or 1h, at most 24h", what);
}

/* The index of the word, or -1. */
static int read_choice(const struct yaml *y, const char *what, const char *const *words, struct err *e)
{
	struct str s;
	char known[200] = "";
	size_t n = 0;
	if (read_text(y, what, &s, e) < 0)
		return -1;
	for (int i = 0; words[i]; i++) {
		if (str_eq_c(s, words[i]))
			return i;
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "", words[i]);
		n = n < sizeof(known) ? n : sizeof(known) - 1;
	}
	return yaml_error(y, e, "'%s' is '%.*s', not one of %s", what, STR_ARG(s), known);
}

static int read_map(struct reader *r, const struct yaml *y, const char *what, const struct key *keys, void *into,
		    struct err *e)
{
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "%s must be a map", what);
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml_pair *p = &y->pair[i];
		const struct key *k = keys;
		while (k->name && !str_eq_c(p->key, k->name))
			k++;
		if (!k->name) {
			auto_buf known = BUF_INIT(1000);
			for (k = keys; k->name; k++)
				buf_printf(&known, "%s%s", k == keys ? "" : ", ", k->name);
			return err_new(e, ERR_INPUT, "%s:%u: %s has no '%.*s'; known are %s", r->where, p->line, what,
				       STR_ARG(str_head(p->key, 100)), known.p);
		}
		if (k->read(r, &p->value, k->name, into, e) < 0)
			return -1;
	}
	return 0;
}

static int check_key_name(struct reader *r, const struct yaml_pair *p, const char *what, struct err *e)
{
	if (service_name_ok(p->key))
		return 0;
	return err_new(e, ERR_INPUT,
		       "%s:%u: '%.*s' is no name for a %s: a letter or digit, then letters, digits, '.', '_' or '-', "
		       "at most %d in all",
		       r->where, p->line, STR_ARG(str_head(p->key, 100)), what, NAME_MAX_BYTES);
}

/* == services ===================================================================================================== */
#define READS(id) static int id(struct reader *r, const struct yaml *y, const char *what, void *into, struct err *e)
#define UNUSED_R (void)r

READS(svc_command)
{
	struct service_decl *d = into;
	return read_argv(r, y, what, &d->argv, &d->argv_n, e);
}

/* What the supervisor says itself. */
static bool is_reserved(struct str key)
{
	return str_starts(key, STR("LISTEN_")) || str_starts(key, STR("SLIPWAY_")) || str_eq(key, STR("NOTIFY_SOCKET"));
}

READS(svc_environment)
{
	struct service_decl *d = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of names to values", what);
	if (check_n(y, what, LIST_MAX, e) < 0)
		return -1;
	struct str *list = arena_array(r->a, struct str, y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		struct str key = y->pair[i].key, value;
		if (key.n == 0 || key.n > NAME_MAX_BYTES * 4 || !is_clean(key) || str_find(key, '=') >= 0)
			return err_new(e, ERR_INPUT, "%s:%u: '%.*s' is no name for a variable", r->where,
				       y->pair[i].line, STR_ARG(str_head(key, 100)));
		if (is_reserved(key))
			return err_new(e, ERR_INPUT, "%s:%u: variable '%.*s' is set by slipway itself", r->where,
				       y->pair[i].line, STR_ARG(key));
		if (read_text(&y->pair[i].value, what, &value, e) < 0)
			return -1;
		list[i] = str_c(arena_printf(r->a, "%.*s=%.*s", STR_ARG(key), STR_ARG(value)));
	}
	d->environment = list;
	d->environment_n = y->n;
	return 0;
}

READS(svc_user)
{
	UNUSED_R;
	return read_word(y, what, &((struct service_decl *)into)->user, e);
}

READS(svc_working_directory)
{
	UNUSED_R;
	struct service_decl *d = into;
	if (read_word(y, what, &d->working_directory, e) < 0)
		return -1;
	if (d->working_directory.p[0] != '/' && !fs_path_is_inside(d->working_directory))
		return yaml_error(y, e, "'%s' must be an absolute path or one inside the prefix", what);
	return 0;
}

READS(svc_sockets)
{
	struct service_decl *d = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of names to addresses", what);
	if (check_n(y, what, SOCKETS_MAX, e) < 0)
		return -1;
	struct service_socket *list = arena_array(r->a, struct service_socket, y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml *v = &y->pair[i].value;
		struct address address;
		if (check_key_name(r, &y->pair[i], "socket", e) < 0 || read_word(v, what, &list[i].address, e) < 0)
			return -1;
		list[i].name = y->pair[i].key;
		list[i].is_private = str_eq(list[i].address, STR("private"));
		if (list[i].is_private)
			list[i].address = STR_NONE;
		else if (address_parse(list[i].address, NULL, &address, e) < 0)
			return err_ctx(e, "%s:%u", r->where, v->line);
		for (uint32_t k = 0; k < i; k++)
			if (!list[i].is_private && str_eq(list[i].address, list[k].address))
				return yaml_error(v, e, "sockets '%.*s' and '%.*s' have one address",
						  STR_ARG(list[k].name), STR_ARG(list[i].name));
	}
	d->sockets = list;
	d->sockets_n = y->n;
	return 0;
}

static const char *const takeover_words[] = {"sockets", "restart", NULL};
READS(svc_hand_over)
{
	UNUSED_R;
	int i = read_choice(y, what, takeover_words, e);
	((struct service_decl *)into)->takeover = (enum service_takeover)i;
	return i < 0 ? -1 : 0;
}

static const char *const ready_words[] = {"started", "notify", NULL};
READS(svc_ready)
{
	UNUSED_R;
	int i = read_choice(y, what, ready_words, e);
	((struct service_decl *)into)->ready = (enum service_ready)i;
	return i < 0 ? -1 : 0;
}

static const char *const restart_words[] = {"on-failure", "always", "never", NULL};
READS(svc_restart)
{
	UNUSED_R;
	int i = read_choice(y, what, restart_words, e);
	((struct service_decl *)into)->restart = (enum service_restart)i;
	return i < 0 ? -1 : 0;
}

READS(svc_restart_delay)
{
	UNUSED_R;
	return read_duration(y, what, 0, &((struct service_decl *)into)->restart_delay_ms, e);
}

READS(svc_start_timeout)
{
	UNUSED_R;
	return read_duration(y, what, 100, &((struct service_decl *)into)->start_timeout_ms, e);
}

READS(svc_stop_timeout)
{
	UNUSED_R;
	return read_duration(y, what, 0, &((struct service_decl *)into)->stop_timeout_ms, e);
}

static const struct {
	const char *word;
	int signo;
} signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},   {"QUIT", SIGQUIT},	  {"HUP", SIGHUP},
	       {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}, {"KILL", SIGKILL}};
enum { SIGNALS_N = sizeof(signals) / sizeof(signals[0]) };

const char *signal_word(int signo)
{
	for (size_t i = 0; i < SIGNALS_N; i++)
		if (signals[i].signo == signo)
			return signals[i].word;
	return "TERM";
}

int signal_of(struct str word)
{
	for (size_t i = 0; i < SIGNALS_N; i++)
		if (str_eq_c(word, signals[i].word))
			return signals[i].signo;
	return 0;
}

READS(svc_stop_signal)
{
	UNUSED_R;
	const char *words[SIGNALS_N + 1] = {NULL};
	for (size_t i = 0; i < SIGNALS_N; i++)
		words[i] = signals[i].word;
	int i = read_choice(y, what, words, e);
	if (i >= 0)
		((struct service_decl *)into)->stop_signal = signals[i].signo;
	return i < 0 ? -1 : 0;
}

READS(svc_after)
{
	struct service_decl *d = into;
	if (read_list(r, y, what, &d->after, &d->after_n, e) < 0 || check_n(y, what, AFTER_MAX, e) < 0)
		return -1;
	for (uint32_t i = 0; i < d->after_n; i++)
		if (!service_name_ok(d->after[i]))
			return yaml_error(&y->item[i], e, "'%.*s' is no name of a service",
					  STR_ARG(str_head(d->after[i], 100)));
	return 0;
}

/* == health ======================================================================================================= */
READS(probe_address)
{
	UNUSED_R;
	return read_word(y, what, &((struct service_probe *)into)->address, e);
}

READS(probe_path)
{
	UNUSED_R;
	struct service_probe *p = into;
	if (read_word(y, what, &p->path, e) < 0)
		return -1;
	for (size_t i = 0; i < p->path.n; i++)
		if (p->path.p[0] != '/' || p->path.p[i] <= ' ' || p->path.p[i] > '~')
			return yaml_error(y, e, "'%s' must begin with '/' and hold printable ASCII only", what);
	return 0;
}

READS(probe_http)
{
	static const struct key keys[] = {{"address", probe_address}, {"path", probe_path}, {NULL, NULL}};
	struct service_probe *p = into;
	p->kind = SERVICE_PROBE_HTTP;
	p->path = STR("/");
	if (read_map(r, y, "an 'http' probe", keys, p, e) < 0)
		return -1;
	return p->address.n ? 0 : yaml_error(y, e, "an '%s' probe needs its 'address'", what);
}

READS(probe_tcp)
{
	struct service_probe *p = into;
	p->kind = SERVICE_PROBE_TCP;
	return probe_address(r, y, what, p, e);
}

READS(probe_command)
{
	struct service_probe *p = into;
	p->kind = SERVICE_PROBE_COMMAND;
	return read_argv(r, y, what, &p->argv, &p->argv_n, e);
}

READS(health_probes)
{
	static const struct key keys[] = {
		{"http", probe_http}, {"tcp", probe_tcp}, {"command", probe_command}, {NULL, NULL}};
	struct service_decl *d = into;
	if (y->type != YAML_LIST)
		return yaml_error(y, e, "'%s' must be a list", what);
	if (check_n(y, what, PROBES_MAX, e) < 0)
		return -1;
	struct service_probe *list = arena_array(r->a, struct service_probe, y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		if (read_map(r, &y->item[i], "a probe", keys, &list[i], e) < 0)
			return -1;
		if (y->item[i].n != 1)
			return yaml_error(&y->item[i], e, "a probe is one of http, tcp, command");
	}
	d->probes = list;
	d->probes_n = y->n;
	return 0;
}

READS(health_interval)
{
	UNUSED_R;
	return read_duration(y, what, 100, &((struct service_decl *)into)->probe_interval_ms, e);
}

READS(health_timeout)
{
	UNUSED_R;
	return read_duration(y, what, 10, &((struct service_decl *)into)->probe_timeout_ms, e);
}

READS(health_passes)
{
	UNUSED_R;
	return read_number(y, what, 1, &((struct service_decl *)into)->probe_passes, e);
}

READS(health_failures)
{
	UNUSED_R;
	return read_number(y, what, 1, &((struct service_decl *)into)->probe_failures, e);
}

READS(svc_health)
{
	static const struct key keys[] = {{"probes", health_probes},	 {"interval", health_interval},
					  {"timeout", health_timeout},	 {"passes", health_passes},
					  {"failures", health_failures}, {NULL, NULL}};
	(void)what;
	return read_map(r, y, "'health'", keys, into, e);
}

const struct service_socket *decl_socket(const struct service_decl *d, struct str name)
{
	for (uint32_t i = 0; i < d->sockets_n; i++)
		if (str_eq(d->sockets[i].name, name))
			return &d->sockets[i];
	return NULL;
}

static int check_service(const struct service_decl *d, const struct yaml *y, struct err *e)
{
	static const char *const taken[] = {".log", ".json", ".1", ".bad", ".tmp"}; /* ROOT/run/ENV/NAME.log … */
	if (d->argv_n == 0)
		return yaml_error(y, e, "service '%.*s' has no 'command'", STR_ARG(d->name));
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (str_ends(d->name, str_c(taken[i])))
			return yaml_error(y, e, "the name of service '%.*s' must not end in '%s'", STR_ARG(d->name),
					  taken[i]);
	for (uint32_t i = 0; i < d->probes_n; i++) {
		const struct service_probe *p = &d->probes[i];
		struct address address;
		if (p->kind == SERVICE_PROBE_COMMAND || decl_socket(d, p->address))
			continue;
		if (address_parse(p->address, NULL, &address, e) < 0)
			return yaml_error(y, e,
					  "a probe of service '%.*s' asks '%.*s', which is neither a socket of it nor "
					  "an address",
					  STR_ARG(d->name), STR_ARG(p->address));
	}
	return 0;
}

static int read_service(struct reader *r, const struct yaml_pair *p, struct service_decl *d, struct err *e)
{
	static const struct key keys[] = {{"command", svc_command},
					  {"environment", svc_environment},
					  {"user", svc_user},
					  {"working-directory", svc_working_directory},
					  {"sockets", svc_sockets},
					  {"hand-over", svc_hand_over},
					  {"ready", svc_ready},
					  {"restart", svc_restart},
					  {"restart-delay", svc_restart_delay},
					  {"start-timeout", svc_start_timeout},
					  {"stop-signal", svc_stop_signal},
					  {"stop-timeout", svc_stop_timeout},
					  {"health", svc_health},
					  {"after", svc_after},
					  {NULL, NULL}};
	if (check_key_name(r, p, "service", e) < 0)
		return -1;
	*d = (struct service_decl){.component = r->component,
				   .name = p->key,
				   .stop_signal = SIGTERM,
				   .start_timeout_ms = 30000,
				   .stop_timeout_ms = 30000,
				   .restart_delay_ms = 100,
				   .probe_interval_ms = 10000,
				   .probe_timeout_ms = 2000,
				   .probe_passes = 1,
				   .probe_failures = 3};
	if (read_map(r, &p->value, "a service", keys, d, e) < 0)
		return -1;
	if (!yaml_get(&p->value, "hand-over")) {
		d->takeover = SERVICE_HAND_OVER_RESTART;
		for (uint32_t i = 0; i < d->sockets_n; i++)
			if (!d->sockets[i].is_private)
				d->takeover = SERVICE_HAND_OVER_SOCKETS;
	}
	return check_service(d, &p->value, e);
}

READS(read_services)
{
	struct component *c = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of names to services", what);
	if (check_n(y, what, SERVICES_MAX, e) < 0)
		return -1;
	c->services = arena_array(r->a, struct service_decl, y->n);
	c->services_n = y->n;
	for (uint32_t i = 0; i < y->n; i++)
		if (read_service(r, &y->pair[i], &c->services[i], e) < 0)
			return -1;
	return 0;
}

/* == state ======================================================================================================== */
READS(state_format)
{
	UNUSED_R;
	return read_word(y, what, &((struct state_decl *)into)->format, e);
}

READS(state_readable)
{
	struct state_decl *s = into;
	return read_list(r, y, what, &s->readable, &s->readable_n, e);
}

READS(state_path)
{
	UNUSED_R;
	struct state_decl *s = into;
	if (read_word(y, what, &s->path, e) < 0)
		return -1;
	if (s->path.p[0] != '/' || !fs_path_is_inside(str_skip(s->path, 1)))
		return yaml_error(y, e, "'%s' must be an absolute path without '..'", what);
	return 0;
}

static const char *const method_words[] = {"copy", "command", NULL};
READS(state_method)
{
	UNUSED_R;
	int i = read_choice(y, what, method_words, e);
	((struct state_decl *)into)->method = (enum state_method)i;
	return i < 0 ? -1 : 0;
}

/* A command that does not say where its checkpoint lies has none. */
static int read_state_argv(struct reader *r, const struct yaml *y, const char *what, const struct str **ret,
			   uint32_t *ret_n, struct err *e)
{
	if (read_argv(r, y, what, ret, ret_n, e) < 0)
		return -1;
	for (uint32_t i = 1; i < *ret_n; i++)
		if (str_search((*ret)[i], STR("{checkpoint}")) >= 0)
			return 0;
	return yaml_error(y, e, "an argument of '%s' must hold {checkpoint}, which stands for the checkpoint's folder",
			  what);
}

READS(state_checkpoint)
{
	struct state_decl *s = into;
	return read_state_argv(r, y, what, &s->checkpoint, &s->checkpoint_n, e);
}

READS(state_restore)
{
	struct state_decl *s = into;
	return read_state_argv(r, y, what, &s->restore, &s->restore_n, e);
}

static const char *const on_abort_words[] = {"restore", "keep", NULL};
READS(state_on_abort)
{
	UNUSED_R;
	int i = read_choice(y, what, on_abort_words, e);
	((struct state_decl *)into)->on_abort = (enum state_on_abort)i;
	return i < 0 ? -1 : 0;
}

static int read_one_state(struct reader *r, const struct yaml_pair *p, struct state_decl *s, struct err *e)
{
	static const struct key keys[] = {{"format", state_format},
					  {"readable", state_readable},
					  {"path", state_path},
					  {"method", state_method},
					  {"checkpoint", state_checkpoint},
					  {"restore", state_restore},
					  {"on-abort", state_on_abort},
					  {NULL, NULL}};
	if (check_key_name(r, p, "state", e) < 0)
		return -1;
	*s = (struct state_decl){.component = r->component, .name = p->key};
	if (read_map(r, &p->value, "a state", keys, s, e) < 0)
		return -1;
	if (s->format.n == 0)
		return yaml_error(&p->value, e, "state '%.*s' has no 'format'", STR_ARG(s->name));
	if (s->method == STATE_COPY && (s->path.n == 0 || s->checkpoint_n || s->restore_n))
		return yaml_error(&p->value, e, "state '%.*s' is copied: it has a 'path' and no commands",
				  STR_ARG(s->name));
	if (s->method == STATE_COMMAND && (s->path.n || !s->checkpoint_n || !s->restore_n))
		return yaml_error(&p->value, e,
				  "state '%.*s' has the method 'command': it needs 'checkpoint' and 'restore', "
				  "and no 'path'",
				  STR_ARG(s->name));
	return 0;
}

READS(read_states)
{
	struct component *c = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of names to states", what);
	if (check_n(y, what, STATES_MAX, e) < 0)
		return -1;
	c->states = arena_array(r->a, struct state_decl, y->n);
	c->states_n = y->n;
	for (uint32_t i = 0; i < y->n; i++)
		if (read_one_state(r, &y->pair[i], &c->states[i], e) < 0)
			return -1;
	return 0;
}

/* == configuration ================================================================================================ */
READS(config_default)
{
	UNUSED_R;
	struct config_decl *c = into;
	if (read_word(y, what, &c->default_file, e) < 0)
		return -1;
	return fs_path_is_inside(c->default_file) ? 0 : yaml_error(y, e, "'%s' must be a path inside the prefix", what);
}

READS(config_deprecated)
{
	struct config_decl *c = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of parameters to what replaces them", what);
	if (check_n(y, what, LIST_MAX, e) < 0)
		return -1;
	struct str *list = arena_array(r->a, struct str, 2 * (size_t)y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		list[2 * i] = y->pair[i].key;
		if (!is_clean(list[2 * i]) || list[2 * i].n == 0)
			return err_new(e, ERR_INPUT, "%s:%u: that is no name of a parameter", r->where,
				       y->pair[i].line);
		if (read_text(&y->pair[i].value, what, &list[2 * i + 1], e) < 0)
			return -1;
	}
	c->deprecated = list;
	c->deprecated_n = y->n;
	return 0;
}

READS(read_configuration)
{
	static const struct key keys[] = {{"default", config_default}, {"deprecated", config_deprecated}, {NULL, NULL}};
	struct component *c = into;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map of paths to files", what);
	if (check_n(y, what, CONFIGS_MAX, e) < 0)
		return -1;
	c->configs = arena_array(r->a, struct config_decl, y->n);
	c->configs_n = y->n;
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml_pair *p = &y->pair[i];
		c->configs[i] = (struct config_decl){.component = r->component, .path = p->key};
		if (p->key.n < 2 || p->key.p[0] != '/' || !fs_path_is_inside(str_skip(p->key, 1)))
			return err_new(e, ERR_INPUT, "%s:%u: a configuration file is an absolute path without '..'",
				       r->where, p->line);
		if (read_map(r, &p->value, "a configuration file", keys, &c->configs[i], e) < 0)
			return -1;
		if (c->configs[i].default_file.n == 0)
			return yaml_error(&p->value, e, "configuration file '%.*s' has no 'default'", STR_ARG(p->key));
	}
	return 0;
}

/* == upgrades ===================================================================================================== */
READS(upgrades_package)
{
	struct component *c = into;
	(void)r;
	if (read_word(y, what, &c->upgrades.package, e) < 0)
		return -1;
	bool plain = c->upgrades.package.n <= NAME_MAX_BYTES;
	for (size_t i = 0; i < c->upgrades.package.n; i++)
		plain &= is_letter(c->upgrades.package.p[i]) || strchr("._-", c->upgrades.package.p[i]);
	return plain ? 0 : yaml_error(y, e, "'%s' must be a package's name", what);
}

static int read_versions(struct reader *r, const struct yaml *y, const char *what, const struct str **ret,
			 uint32_t *ret_n, struct err *e)
{
	if (read_list(r, y, what, ret, ret_n, e) < 0)
		return -1;
	for (uint32_t i = 0; i < *ret_n; i++)
		if ((*ret)[i].n == 0 || (*ret)[i].n > VERSIONS_MAX_BYTES || !is_versions((*ret)[i]))
			return yaml_error(&y->item[i], e, "'%s' must hold versions like '>=1.0,<3', not '%.*s'", what,
					  STR_ARG(str_head((*ret)[i], 100)));
	return 0;
}

READS(upgrades_from)
{
	struct component *c = into;
	c->upgrades.has_from = true;
	return read_versions(r, y, what, &c->upgrades.from, &c->upgrades.from_n, e);
}

READS(upgrades_down)
{
	struct component *c = into;
	c->upgrades.has_down = true;
	return read_versions(r, y, what, &c->upgrades.down, &c->upgrades.down_n, e);
}

READS(read_upgrades)
{
	static const struct key keys[] = {
		{"package", upgrades_package}, {"from", upgrades_from}, {"down", upgrades_down}, {NULL, NULL}};
	return read_map(r, y, what, keys, into, e);
}

/* == order ======================================================================================================== */
/* Stable: of those whose predecessors are placed, the first. Names that are not among them do not count. */
static int put_in_order(const struct service_decl *const *from, size_t n, const struct service_decl **to,
			const char *where, struct err *e)
{
	auto_map waits = MAP_INIT; /* 1: not placed yet */
	size_t done = 0, first = 0;
	for (size_t i = 0; i < n; i++)
		*map_put(&waits, from[i]->name) = 1;
	while (done < n) {
		size_t before = done;
		first = n;
		for (size_t i = 0; i < n && done == before; i++) {
			const struct service_decl *d = from[i];
			bool blocked = *map_get(&waits, d->name) == 0;
			if (blocked)
				continue;
			first = first == n ? i : first;
			for (uint32_t k = 0; !blocked && k < d->after_n; k++) {
				const uint64_t *w = map_get(&waits, d->after[k]);
				blocked = w && *w == 1;
			}
			if (!blocked) {
				*map_get(&waits, d->name) = 0;
				to[done++] = d;
			}
		}
		if (done == before)
			return err_new(e, ERR_INPUT,
				       "%s: service '%.*s' waits for itself: take a name out of its 'after'", where,
				       STR_ARG(from[first]->name));
	}
	return 0;
}

static int sort_services(struct arena *a, struct component *c, const char *where, struct err *e)
{
	size_t n = c->services_n;
	const struct service_decl **from = arena_array(a, const struct service_decl *, n);
	const struct service_decl **to = arena_array(a, const struct service_decl *, n);
	for (size_t i = 0; i < n; i++)
		from[i] = &c->services[i];
	if (put_in_order(from, n, to, where, e) < 0)
		return -1;
	struct service_decl *sorted = arena_array(a, struct service_decl, n);
	for (size_t i = 0; i < n; i++)
		sorted[i] = *to[i];
	c->services = sorted;
	return 0;
}

int component_services(struct arena *a, const struct component *c, size_t n, const struct service_decl ***ret,
		       size_t *ret_n, struct err *e)
{
	auto_map names = MAP_INIT;
	size_t total = 0, at = 0;
	for (size_t i = 0; i < n; i++)
		total += c[i].services_n;
	if (total > SERVICES_OF_PREFIX_MAX)
		return err_new(e, ERR_LIMIT, "the environment has %zu services, more than %d", total,
			       SERVICES_OF_PREFIX_MAX);
	const struct service_decl **from = arena_array(a, const struct service_decl *, total);
	const struct service_decl **to = arena_array(a, const struct service_decl *, total);
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < c[i].services_n; k++) {
			const struct service_decl *d = &c[i].services[k];
			if (*map_put(&names, d->name))
				return err_new(e, ERR_INPUT,
					       "service '%.*s' of component '%.*s' is in another component too",
					       STR_ARG(d->name), STR_ARG(d->component));
			*map_put(&names, d->name) = 1;
			from[at++] = d;
		}
	for (size_t i = 0; i < total; i++)
		for (uint32_t k = 0; k < from[i]->after_n; k++)
			if (!map_get(&names, from[i]->after[k]))
				return err_new(e, ERR_INPUT,
					       "service '%.*s' of component '%.*s' starts after '%.*s', which no "
					       "component of this environment has",
					       STR_ARG(from[i]->name), STR_ARG(from[i]->component),
					       STR_ARG(from[i]->after[k]));
	if (put_in_order(from, total, to, COMPONENT_DIR, e) < 0)
		return -1;
	*ret = to;
	*ret_n = total;
	return 0;
}

/* == files ======================================================================================================== */
int component_read(struct arena *a, struct str text, const char *name, const char *where, struct component *ret,
		   struct err *e)
{
	static const struct key keys[] = {{"services", read_services},
					  {"state", read_states},
					  {"configuration", read_configuration},
					  {"upgrades", read_upgrades},
					  {NULL, NULL}};
	struct reader r = {.a = a, .where = where, .component = arena_str(a, str_c(name))};
	struct component c = {.name = r.component};
	if (!service_name_ok(r.component))
		return err_new(e, ERR_INPUT, "%s: '%s' is no name for a component", where, name);
	const struct yaml *y = yaml_parse(a, text, where, e);
	if (!y)
		return -1;
	if (read_map(&r, y, "a component", keys, &c, e) < 0 || sort_services(a, &c, where, e) < 0)
		return -1;
	*ret = c;
	return 0;
}

static int read_file(struct arena *a, int dir, const char *fn, struct component *ret, struct err *e)
{
	auto_buf text = BUF_INIT(FILE_MAX_BYTES);
	const char *where = arena_printf(a, COMPONENT_DIR "/%s", fn);
	const char *name = arena_strdup(a, str_of(fn, strlen(fn) - strlen(".yml")));
	if (fs_read(dir, fn, &text, e) < 0)
		return err_ctx(e, "component '%s'", name);
	return component_read(a, buf_str(&text), name, where, ret, e);
}

int component_read_all(struct arena *a, const char *prefix, struct component **ret, size_t *ret_n, struct err *e)
{
	auto_free char *path = xasprintf("%s/" COMPONENT_DIR, prefix);
	struct err why = ERR_INIT;
	auto_fd dir = fs_open_dir(AT_FDCWD, path, &why);
	*ret = NULL;
	*ret_n = 0;
	if (dir < 0 && why.code == ERR_NOT_FOUND)
		return 0;
	if (dir < 0) {
		*e = why;
		return -1;
	}
	auto_fs_list list = {0};
	if (fs_list(dir, ".", FOLDER_MAX, &list, e) < 0)
		return err_ctx(e, "read '%s'", path);
	size_t n = 0;
	for (size_t i = 0; i < list.n; i++)
		n += list.name[i][0] != '.' && str_ends(str_c(list.name[i]), STR(".yml"));
	if (n > COMPONENTS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' has %zu components, more than %d", path, n, COMPONENTS_MAX);
	struct component *c = arena_array(a, struct component, n);
	size_t at = 0;
	for (size_t i = 0; i < list.n; i++) {
		if (list.name[i][0] == '.' || !str_ends(str_c(list.name[i]), STR(".yml")))
			continue;
		if (read_file(a, dir, list.name[i], &c[at++], e) < 0)
			return -1;
	}
	const struct service_decl **order;
	size_t order_n;
	if (component_services(a, c, n, &order, &order_n, e) < 0)
		return err_ctx(e, "components of '%s'", prefix);
	*ret = c;
	*ret_n = n;
	return 0;
}

/* == writing ====================================================================================================== */
static void put_duration(struct jw *w, const char *key, int64_t ms)
{
	char text[32];
	snprintf(text, sizeof(text), "%lldms", (long long)ms);
	jw_kv_c(w, key, text);
}

static void put_probe(struct jw *w, const struct service_probe *p)
{
	jw_object(w);
	if (p->kind == SERVICE_PROBE_COMMAND) {
		jw_kv_list(w, "command", p->argv, p->argv_n);
	} else if (p->kind == SERVICE_PROBE_TCP) {
		jw_kv_str(w, "tcp", p->address);
	} else {
		jw_key(w, "http");
		jw_object(w);
		jw_kv_str(w, "address", p->address);
		jw_kv_str(w, "path", p->path.n ? p->path : STR("/"));
		jw_object_end(w);
	}
	jw_object_end(w);
}

static void put_health(struct jw *w, const struct service_decl *d)
{
	jw_key(w, "health");
	jw_object(w);
	put_duration(w, "interval", d->probe_interval_ms);
	put_duration(w, "timeout", d->probe_timeout_ms);
	jw_kv_int(w, "passes", d->probe_passes);
	jw_kv_int(w, "failures", d->probe_failures);
	jw_key(w, "probes");
	jw_array(w);
	for (uint32_t i = 0; i < d->probes_n; i++)
		put_probe(w, &d->probes[i]);
	jw_array_end(w);
	jw_object_end(w);
}

void decl_put(struct jw *w, const struct service_decl *d)
{
	jw_object(w);
	jw_kv_list(w, "command", d->argv, d->argv_n);
	jw_key(w, "environment");
	jw_object(w);
	for (uint32_t i = 0; i < d->environment_n; i++) {
		struct str value = d->environment[i], key = value;
		if (str_take_until(&value, '=', &key))
			jw_key_str(w, key), jw_str(w, value);
	}
	jw_object_end(w);
	jw_kv_opt(w, "user", d->user);
	jw_kv_opt(w, "working-directory", d->working_directory);
	jw_key(w, "sockets");
	jw_object(w);
	for (uint32_t i = 0; i < d->sockets_n; i++) {
		jw_key_str(w, d->sockets[i].name);
		jw_str(w, d->sockets[i].is_private ? STR("private") : d->sockets[i].address);
	}
	jw_object_end(w);
	jw_kv_c(w, "hand-over", takeover_words[d->takeover]);
	jw_kv_c(w, "ready", ready_words[d->ready]);
	jw_kv_c(w, "restart", restart_words[d->restart]);
	put_duration(w, "restart-delay", d->restart_delay_ms);
	put_duration(w, "start-timeout", d->start_timeout_ms);
	jw_kv_c(w, "stop-signal", signal_word(d->stop_signal));
	put_duration(w, "stop-timeout", d->stop_timeout_ms);
	put_health(w, d);
	jw_kv_list(w, "after", d->after, d->after_n);
	jw_object_end(w);
}

int decl_read(struct arena *a, struct str json, struct str component, struct str name, struct service_decl *ret,
	      struct err *e)
{
	auto_buf text = BUF_INIT(FILE_MAX_BYTES);
	auto_free char *component_z = str_dup(component.n ? component : name);
	struct jw w = JW_INIT(&text, 0);
	struct component c;
	jw_object(&w);
	jw_key(&w, "services");
	jw_object(&w);
	jw_key_str(&w, name);
	jw_raw(&w, json);
	jw_object_end(&w);
	jw_object_end(&w);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "the declaration of service '%.*s' has more than %d bytes", STR_ARG(name),
			       FILE_MAX_BYTES);
	const char *where = arena_printf(a, "service '%.*s'", STR_ARG(name));
	if (component_read(a, buf_str(&text), component_z, where, &c, e) < 0)
		return -1;
	*ret = c.services[0];
	return 0;
}

int decl_copy(struct arena *a, const struct service_decl *d, struct service_decl *ret, struct err *e)
{
	auto_buf text = BUF_INIT(FILE_MAX_BYTES);
	struct jw w = JW_INIT(&text, 0);
	decl_put(&w, d);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "the declaration of service '%.*s' has more than %d bytes",
			       STR_ARG(d->name), FILE_MAX_BYTES);
	return decl_read(a, buf_str(&text), d->component, d->name, ret, e);
}
