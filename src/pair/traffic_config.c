// SPDX-License-Identifier: Apache-2.0
/* The reader of `traffic:` of a pair's configuration (doc/formats/pair.md). What is not known is refused. */
#include <arpa/inet.h>

#include "pair/traffic_drivers.h"

enum { NAME_MAX_BYTES = 64, PATH_MAX_BYTES = 1024, ARGS_MAX = 64, ARG_MAX_BYTES = 4096, WEIGHT_MAX = 254 };

struct key {
	const char *name;
	int (*read)(struct arena *a, const struct yaml *y, const char *what, struct traffic_driver *d, struct err *e);
	bool needed;
};
#define READS(id)                                                                                                      \
	static int id(struct arena *a, const struct yaml *y, const char *what, struct traffic_driver *d, struct err *e)

static int read_map(struct arena *a, const struct yaml *y, const char *what, const struct key *keys,
		    struct traffic_driver *d, struct err *e)
{
	uint32_t have = 0;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'%s' must be a map", what);
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml_pair *p = &y->pair[i];
		uint32_t k = 0;
		while (keys[k].name && !str_eq_c(p->key, keys[k].name))
			k++;
		if (!keys[k].name) {
			auto_buf known = BUF_INIT(1000);
			for (k = 0; keys[k].name; k++)
				buf_printf(&known, "%s%s", k ? ", " : "", keys[k].name);
			return err_new(e, ERR_INPUT, "%s:%u: '%s' has no '%.*s'; known are %s", y->where, p->line, what,
				       STR_ARG(str_head(p->key, 100)), known.p);
		}
		if (keys[k].read(a, &p->value, keys[k].name, d, e) < 0)
			return -1;
		have |= 1u << k;
	}
	for (uint32_t k = 0; keys[k].name; k++)
		if (keys[k].needed && !(have & 1u << k))
			return yaml_error(y, e, "'%s' needs its '%s'", what, keys[k].name);
	return 0;
}

/* Printable ASCII without blanks, which is what HAProxy's and the kernel's names are made of. */
static int read_word(const struct yaml *y, const char *what, size_t max, const char *others, struct str *ret,
		     struct err *e)
{
	if (yaml_str(y, what, ret, e) < 0)
		return -1;
	if (ret->n == 0 || ret->n > max)
		return yaml_error(y, e, "'%s' must have 1 to %zu bytes", what, max);
	for (size_t i = 0; i < ret->n; i++) {
		char c = ret->p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!plain && (c == '\0' || !strchr(others, c)))
			return yaml_error(y, e, "'%s' may hold letters, digits and '%s' only", what, others);
	}
	return 0;
}

/* == haproxy ====================================================================================================== */
READS(haproxy_socket)
{
	(void)a;
	if (read_word(y, what, PATH_MAX_BYTES, "/._-@:+", &d->socket, e) < 0)
		return -1;
	if (!haproxy_socket_ok(d->socket))
		return yaml_error(y, e,
				  "'%s' must be an absolute path of at most 107 bytes, ipv4@HOST:PORT or "
				  "ipv6@HOST:PORT, with a number for HOST",
				  what);
	return 0;
}

READS(haproxy_backend)
{
	(void)a;
	return read_word(y, what, NAME_MAX_BYTES, "._-:", &d->backend, e);
}

READS(haproxy_servers)
{
	(void)a;
	if (y->type != YAML_MAP || y->n != TRAFFIC_MEMBERS)
		return yaml_error(y, e, "'%s' must name a server for each member: {1: NAME, 2: NAME}", what);
	for (uint32_t i = 0; i < y->n; i++) {
		uint64_t member;
		if (!str_to_u64(y->pair[i].key, &member) || member < 1 || member > TRAFFIC_MEMBERS ||
		    d->server[member].n > 0)
			return err_new(e, ERR_INPUT, "%s:%u: '%s' has no '%.*s'; members are 1 and 2", y->where,
				       y->pair[i].line, what, STR_ARG(str_head(y->pair[i].key, 100)));
		if (read_word(&y->pair[i].value, what, NAME_MAX_BYTES, "._-:", &d->server[member], e) < 0)
			return -1;
	}
	return str_eq(d->server[1], d->server[2]) ? yaml_error(y, e, "both members have one server") : 0;
}

READS(haproxy_share)
{
	struct str s;
	(void)a;
	if (yaml_str(y, what, &s, e) < 0)
		return -1;
	d->share_active = str_eq(s, STR("active"));
	if (!d->share_active && !str_eq(s, STR("both")))
		return yaml_error(y, e, "'%s' is '%.*s', not one of both, active", what, STR_ARG(str_head(s, 100)));
	return 0;
}

/* == keepalived =================================================================================================== */
READS(keepalived_track_file)
{
	(void)a;
	if (read_word(y, what, PATH_MAX_BYTES, "/._-@:+", &d->track_file, e) < 0)
		return -1;
	return d->track_file.p[0] == '/' ? 0 : yaml_error(y, e, "'%s' must be an absolute path", what);
}

static int read_weight(const struct yaml *y, const char *what, int32_t *ret, struct err *e)
{
	struct str s;
	int64_t v;
	if (yaml_str(y, what, &s, e) < 0)
		return -1;
	if (!str_to_i64(s, &v) || v < -WEIGHT_MAX || v > WEIGHT_MAX)
		return yaml_error(y, e, "'%s' must be a number from -%d to %d", what, WEIGHT_MAX, WEIGHT_MAX);
	*ret = (int32_t)v;
	return 0;
}

READS(weight_active)
{
	(void)a;
	return read_weight(y, what, &d->weight_active, e);
}

READS(weight_standby)
{
	(void)a;
	return read_weight(y, what, &d->weight_standby, e);
}

READS(keepalived_weights)
{
	static const struct key keys[] = {
		{"active", weight_active, true}, {"standby", weight_standby, true}, {NULL, NULL, false}};
	if (read_map(a, y, what, keys, d, e) < 0)
		return -1;
	return d->weight_active > d->weight_standby
		       ? 0
		       : yaml_error(y, e, "the weight of the active member must be above the standby's");
}

READS(keepalived_address)
{
	unsigned char bytes[16];
	(void)a;
	if (read_word(y, what, NAME_MAX_BYTES, ".:", &d->address, e) < 0)
		return -1;
	if (inet_pton(AF_INET, d->address.p, bytes) != 1 && inet_pton(AF_INET6, d->address.p, bytes) != 1)
		return yaml_error(y, e, "'%s' must be an IPv4 or IPv6 address, without a length", what);
	return 0;
}

READS(keepalived_interface)
{
	(void)a;
	return read_word(y, what, 15, "._-@", &d->interface, e);
}

/* == command ====================================================================================================== */
static int read_argv(struct arena *a, const struct yaml *y, const char *what, const char *const **ret, struct err *e)
{
	if (y->type != YAML_LIST || y->n == 0 || y->n > ARGS_MAX)
		return yaml_error(y, e, "'%s' must be a list of 1 to %d texts", what, ARGS_MAX);
	const char **argv = arena_array(a, const char *, y->n + 1);
	for (uint32_t i = 0; i < y->n; i++) {
		struct str s;
		if (yaml_str(&y->item[i], what, &s, e) < 0)
			return -1;
		if (s.n > ARG_MAX_BYTES || memchr(s.p, '\0', s.n))
			return yaml_error(&y->item[i], e, "an argument has at most %d bytes, none of them NUL",
					  ARG_MAX_BYTES);
		argv[i] = s.p;
	}
	if (argv[0][0] != '/')
		return yaml_error(y, e, "the program of '%s' must be an absolute path", what);
	*ret = argv;
	return 0;
}

READS(command_activate)
{
	return read_argv(a, y, what, &d->argv[TRAFFIC_ACTIVE], e);
}

READS(command_drain)
{
	return read_argv(a, y, what, &d->argv[TRAFFIC_DRAIN], e);
}

READS(command_ready)
{
	return read_argv(a, y, what, &d->argv[TRAFFIC_READY], e);
}

READS(command_state)
{
	return read_argv(a, y, what, &d->argv[TRAFFIC_VERBS], e);
}

static const struct key haproxy_keys[] = {{"socket", haproxy_socket, true},
					  {"backend", haproxy_backend, true},
					  {"servers", haproxy_servers, true},
					  {"share", haproxy_share, false},
					  {NULL, NULL, false}};
static const struct key keepalived_keys[] = {{"track-file", keepalived_track_file, true},
					     {"weights", keepalived_weights, true},
					     {"address", keepalived_address, true},
					     {"interface", keepalived_interface, true},
					     {NULL, NULL, false}};
static const struct key command_keys[] = {{"activate", command_activate, true},
					  {"drain", command_drain, true},
					  {"ready", command_ready, true},
					  {"state", command_state, true},
					  {NULL, NULL, false}};
static const struct {
	const char *name;
	enum traffic_driver_kind kind;
	const struct key *keys;
} drivers[] = {{"haproxy", TRAFFIC_HAPROXY, haproxy_keys},
	       {"keepalived", TRAFFIC_KEEPALIVED, keepalived_keys},
	       {"command", TRAFFIC_COMMAND, command_keys}};

static int read_driver(struct arena *a, const struct yaml *y, struct traffic_driver *d, struct err *e)
{
	if (y->type != YAML_MAP || y->n != 1)
		return yaml_error(y, e, "a driver is one of haproxy, keepalived, command, each a map");
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (str_eq_c(y->pair[0].key, drivers[i].name)) {
			d->kind = drivers[i].kind;
			return read_map(a, &y->pair[0].value, drivers[i].name, drivers[i].keys, d, e);
		}
	return yaml_error(y, e, "there is no driver '%.*s'; known are haproxy, keepalived, command",
			  STR_ARG(str_head(y->pair[0].key, 100)));
}

int traffic_read(struct arena *a, const struct yaml *list, struct traffic_config *ret, struct err *e)
{
	*ret = (struct traffic_config){0};
	if (!list)
		return 0;
	if (list->type != YAML_LIST)
		return yaml_error(list, e, "'traffic' must be a list of drivers");
	if (list->n > TRAFFIC_DRIVERS_MAX) {
		yaml_error(list, e, "'traffic' has %u drivers, more than %d", list->n, TRAFFIC_DRIVERS_MAX);
		e->code = ERR_LIMIT;
		return -1;
	}
	struct traffic_driver *d = arena_array(a, struct traffic_driver, list->n);
	for (uint32_t i = 0; i < list->n; i++)
		if (read_driver(a, &list->item[i], &d[i], e) < 0)
			return -1;
	*ret = (struct traffic_config){.driver = d, .n = list->n};
	return 0;
}
