// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "base/yaml.h"

enum { FILE_MAX = 1 << 20, FILES_MAX = 1000, POOL_CAPACITY_MAX = 1024 };

struct loader {
	struct arena *a;
	struct config *c;
	VEC(const char *) warnings;
	bool conda; /* the file being read is conda's */
	uint32_t seen;
	struct err *e;
};

struct key {
	const char *name;
	int (*read)(struct loader *l, const struct yaml *y, struct err *e);
	bool conda;
};

/* -- values ---------------------------------------------------------------------------------------------------------- */

static struct config_text text_of(const struct yaml *y)
{
	return (struct config_text){y->scalar, y->where, y->line};
}

static int read_text(const struct yaml *y, const char *key, struct config_text *ret, struct err *e)
{
	struct str s;
	if (yaml_str(y, key, &s, e) < 0)
		return -1;
	if (s.n == 0 || memchr(s.p, '\n', s.n))
		return yaml_error(y, e, "'%s' must be one line of text", key);
	*ret = text_of(y);
	return 0;
}

/* A list of texts; one text alone is a list of one. */
static int read_list(struct loader *l, const struct yaml *y, const char *key, struct config_list *ret, struct err *e)
{
	const struct yaml *item = y->type == YAML_LIST ? y->item : y;
	size_t n = y->type == YAML_LIST ? y->n : 1;
	struct config_text *v = arena_array(l->a, struct config_text, n);
	if (y->type == YAML_MAP)
		return yaml_error(y, e, "'%s' must be a list", key);
	for (size_t i = 0; i < n; i++)
		if (read_text(&item[i], key, &v[i], e) < 0)
			return -1;
	*ret = (struct config_list){v, n};
	return 0;
}

static int read_base_url(const struct yaml *y, const char *key, struct loader *l, struct config_text *ret,
			 struct err *e)
{
	struct config_text t;
	if (read_text(y, key, &t, e) < 0)
		return -1;
	if (t.s.p[0] != '/' && str_search(t.s, STR("://")) <= 0)
		return yaml_error(y, e, "'%s' must be a URL or an absolute folder, not '%.*s'", key, STR_ARG(t.s));
	while (t.s.n > 1 && t.s.p[t.s.n - 1] == '/')
		t.s.n--;
	t.s = arena_str(l->a, t.s);
	*ret = t;
	return 0;
}

static int read_channels(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_list(l, y, "channels", &l->c->channels, e);
}

static int read_default_channels(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_list(l, y, "default_channels", &l->c->default_channels, e);
}

static int read_channel_alias(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_base_url(y, "channel_alias", l, &l->c->channel_alias, e);
}

static int read_require_signed_plan(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_list(l, y, "require_signed_plan", &l->c->require_signed_plan, e);
}

static int read_map(struct loader *l, const struct yaml *y, const char *what, const struct config_custom **ret,
		    size_t *ret_n, struct err *e)
{
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "%s", what);
	struct config_custom *v = arena_array(l->a, struct config_custom, y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		v[i].name = (struct config_text){y->pair[i].key, y->where, y->pair[i].line};
		if (read_base_url(&y->pair[i].value, y->pair[i].key.p, l, &v[i].url, e) < 0)
			return -1;
	}
	*ret = v;
	*ret_n = y->n;
	return 0;
}

static int read_custom_channels(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_map(l, y, "'custom_channels' must be a map from names to URLs", &l->c->custom_channels,
			&l->c->custom_channels_n, e);
}

static int read_mirrors(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_map(l, y, "'mirrors' must be a map from URLs to URLs", &l->c->mirrors, &l->c->mirrors_n, e);
}

static int read_bool(const struct yaml *y, const char *key, bool *ret, struct err *e)
{
	bool yes = str_eq_c(y->scalar, "true"), no = str_eq_c(y->scalar, "false");
	if (y->type != YAML_SCALAR || !y->plain || (!yes && !no))
		return yaml_error(y, e, "'%s' must be true or false", key);
	*ret = yes;
	return 0;
}

static int read_pool_pair(const struct yaml_pair *p, struct config_pool *ret, struct config_setting *settings,
			  struct err *e)
{
	uint64_t n;
	if (str_eq_c(p->key, "auto"))
		return read_bool(&p->value, "auto", &ret->automatic, e);
	if (str_eq_c(p->key, "backend"))
		return read_text(&p->value, "backend", &ret->backend, e);
	if (str_eq_c(p->key, "capacity")) {
		if (p->value.type != YAML_SCALAR || !str_to_u64(p->value.scalar, &n) || n < 1 || n > POOL_CAPACITY_MAX)
			return yaml_error(&p->value, e, "'capacity' must be a number from 1 to %d", POOL_CAPACITY_MAX);
		ret->capacity = (uint32_t)n;
		return 0;
	}
	struct config_text t;
	if (read_text(&p->value, p->key.p, &t, e) < 0)
		return -1;
	settings[ret->settings_n++] = (struct config_setting){p->key, t.s};
	return 0;
}

static int read_pools(struct loader *l, const struct yaml *y, struct err *e)
{
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'pools' must be a map from names to what they are");
	struct config_pool *v = arena_array(l->a, struct config_pool, y->n);
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml *pool = &y->pair[i].value;
		struct config_setting *settings = arena_array(l->a, struct config_setting, pool->n + 1);
		v[i] = (struct config_pool){.name = {y->pair[i].key, y->where, y->pair[i].line}, .capacity = 1};
		v[i].settings = settings;
		if (yaml_is_null(pool))
			continue;
		if (pool->type != YAML_MAP)
			return yaml_error(pool, e, "pool '%.*s' must be a map: capacity, auto, backend",
					  STR_ARG(y->pair[i].key));
		for (uint32_t k = 0; k < pool->n; k++)
			if (read_pool_pair(&pool->pair[k], &v[i], settings, e) < 0)
				return -1;
		if (v[i].settings_n && !v[i].backend.file)
			return yaml_error(pool, e, "pool '%.*s': unknown key '%.*s'; known are auto, backend, capacity",
					  STR_ARG(y->pair[i].key), STR_ARG(settings[0].name));
	}
	l->c->pools = v;
	l->c->pools_n = y->n;
	return 0;
}

static int read_channel_priority(struct loader *l, const struct yaml *y, struct err *e)
{
	static const struct {
		const char *word;
		enum config_priority priority;
	} words[] = {
		{"strict", CONFIG_STRICT}, {"flexible", CONFIG_FLEXIBLE}, {"disabled", CONFIG_DISABLED},
		{"true", CONFIG_FLEXIBLE}, {"false", CONFIG_DISABLED},
	};
	struct config_text t;
	if (read_text(y, "channel_priority", &t, e) < 0)
		return -1;
	for (size_t i = 0; i < (l->conda ? 5 : 3); i++)
		if (str_casecmp(t.s, str_c(words[i].word)) == 0) {
			l->c->channel_priority = words[i].priority;
			return 0;
		}
	return yaml_error(y, e, "'channel_priority' must be strict, flexible or disabled, not '%.*s'", STR_ARG(t.s));
}

static int read_subdir(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_text(y, "subdir", &l->c->subdir, e);
}

static int read_number(const struct yaml *y, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	double d;
	char *end;
	struct str s;
	if (yaml_str(y, key, &s, e) < 0)
		return -1;
	errno = 0;
	d = strtod(s.p, &end); /* conda allows 9.15 */
	if (s.n == 0 || *end || errno || !(d >= (double)min && d <= (double)max))
		return yaml_error(y, e, "'%s' must be a number from %lld to %lld, not '%.*s'", key, (long long)min,
				  (long long)max, STR_ARG(s));
	*ret = (int64_t)(d + 0.999);
	return 0;
}

enum { SECONDS_MAX = 24 * 3600, RETRIES_MAX = 1000 };

static int read_connect_timeout(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_number(y, "remote_connect_timeout_secs", 1, SECONDS_MAX, &l->c->connect_timeout_s, e);
}

static int read_read_timeout(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_number(y, "remote_read_timeout_secs", 1, SECONDS_MAX, &l->c->read_timeout_s, e);
}

static int read_max_retries(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_number(y, "remote_max_retries", 0, RETRIES_MAX, &l->c->max_retries, e);
}

static int read_silence(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_number(y, "remote_silence_secs", 1, SECONDS_MAX, &l->c->silence_s, e);
}

static int read_always_copy(struct loader *l, const struct yaml *y, struct err *e)
{
	return read_bool(y, "always_copy", &l->c->always_copy, e);
}

bool config_size(struct str s, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {{"", 1},
		     {"B", 1},
		     {"kB", 1000},
		     {"KB", 1000},
		     {"MB", 1000000},
		     {"GB", 1000000000},
		     {"TB", UINT64_C(1000000000000)},
		     {"KiB", UINT64_C(1) << 10},
		     {"MiB", UINT64_C(1) << 20},
		     {"GiB", UINT64_C(1) << 30},
		     {"TiB", UINT64_C(1) << 40}};
	uint64_t n;
	if (!str_take_u64(&s, &n))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!str_eq_c(str_trim(s), units[i].unit) || n > CONFIG_SIZE_MAX / units[i].bytes)
			continue;
		*ret = n * units[i].bytes;
		return true;
	}
	return false;
}

/* At least one byte, so that 0 stays for what is not set. */
static int read_reserve(struct loader *l, const struct yaml *y, struct err *e)
{
	struct str s;
	uint64_t n;
	if (yaml_str(y, "reserve", &s, e) < 0)
		return -1;
	if (!config_size(s, &n))
		return yaml_error(y, e, "'reserve' must be a size like 500 MB or 2 GiB, at most 1024 TiB, not '%.*s'",
				  STR_ARG(s));
	l->c->reserve_bytes = n ? n : 1;
	return 0;
}

static int read_count(const struct yaml *y, const char *key, uint64_t max, uint64_t *ret, struct err *e)
{
	if (y->type != YAML_SCALAR || !str_to_u64(y->scalar, ret) || *ret < 1 || *ret > max)
		return yaml_error(y, e, "'%s' must be a number from 1 to %llu", key, (unsigned long long)max);
	return 0;
}

static int read_size(const struct yaml *y, const char *key, uint64_t *ret, struct err *e)
{
	if (y->type != YAML_SCALAR || !config_size(y->scalar, ret) || !*ret)
		return yaml_error(y, e, "'%s' must be a size like 500 MB or 2 GiB", key);
	return 0;
}

static int read_store(const struct yaml *y, enum config_store *ret, struct err *e)
{
	static const char *const words[] = {"auto", "overlay", "btrfs", "copy"};
	for (size_t i = 0; y->type == YAML_SCALAR && i < sizeof(words) / sizeof(*words); i++) {
		if (str_eq_c(y->scalar, words[i])) {
			*ret = (enum config_store)i;
			return 0;
		}
	}
	return yaml_error(y, e, "'store' must be auto, overlay, btrfs or copy");
}

static int read_build_pair(struct config_build *b, const struct yaml_pair *p, struct err *e)
{
	const struct yaml *y = &p->value;
	if (str_eq_c(p->key, "memory"))
		return read_size(y, "memory", &b->memory_bytes, e);
	if (str_eq_c(p->key, "disk"))
		return read_size(y, "disk", &b->disk_bytes, e);
	if (str_eq_c(p->key, "processes"))
		return read_count(y, "processes", INT32_MAX, &b->processes, e);
	if (str_eq_c(p->key, "time_secs"))
		return read_count(y, "time_secs", INT32_MAX, &b->time_s, e);
	if (str_eq_c(p->key, "keep_free"))
		return read_size(y, "keep_free", &b->keep_free_bytes, e);
	if (str_eq_c(p->key, "store"))
		return read_store(y, &b->store, e);
	bool fast = true;
	if (str_eq_c(p->key, "fast_sync")) {
		int rc = read_bool(y, "fast_sync", &fast, e);
		b->no_fast_sync = !fast;
		return rc;
	}
	return err_new(
		e, ERR_INPUT,
		"%s:%u: 'build' has no key '%.*s'; there are memory, disk, processes, time_secs, fast_sync, store, keep_free",
		y->where, (unsigned)p->line, STR_ARG(p->key));
}

static int read_build(struct loader *l, const struct yaml *y, struct err *e)
{
	if (y->type != YAML_MAP)
		return yaml_error(
			y, e, "'build' must be a map: memory, disk, processes, time_secs, fast_sync, store, keep_free");
	for (uint32_t i = 0; i < y->n; i++)
		if (read_build_pair(&l->c->build, &y->pair[i], e) < 0)
			return -1;
	return 0;
}

static int read_autostart(struct loader *l, const struct yaml *y, struct err *e)
{
	struct str s;
	if (yaml_str(y, "autostart", &s, e) < 0)
		return -1;
	if (!str_eq_c(s, "ignore") && !str_eq_c(s, "check"))
		return yaml_error(y, e, "'autostart' must be check or ignore, not '%.*s'", STR_ARG(s));
	l->c->autostart_ignored = str_eq_c(s, "ignore");
	return 0;
}

static bool is_services(struct str word, enum config_services *ret)
{
	static const char *const words[] = {"auto", "agent", "systemd", "systemd-user"};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (str_eq_c(word, words[i])) {
			*ret = (enum config_services)i;
			return true;
		}
	}
	return false;
}

static int read_services(struct loader *l, const struct yaml *y, struct err *e)
{
	return y->type == YAML_SCALAR && is_services(y->scalar, &l->c->services)
		       ? 0
		       : yaml_error(y, e, "'services' must be auto, agent, systemd or systemd-user");
}

static int read_services_variable(const struct config_sources *s, struct config *c, struct err *e)
{
	const char *word = s->environment("SLIPWAY_SERVICES");
	return !word || !*word || is_services(str_c(word), &c->services)
		       ? 0
		       : err_new(e, ERR_USAGE,
				 "SLIPWAY_SERVICES must be auto, agent, systemd or systemd-user, not '%s'", word);
}

static const struct key keys[] = {
	{"always_copy", read_always_copy, false},
	{"autostart", read_autostart, false},
	{"build", read_build, false},
	{"channel_alias", read_channel_alias, true},
	{"channel_priority", read_channel_priority, true},
	{"channels", read_channels, true},
	{"custom_channels", read_custom_channels, true},
	{"default_channels", read_default_channels, true},
	{"mirrors", read_mirrors, false},
	{"pools", read_pools, false},
	{"remote_connect_timeout_secs", read_connect_timeout, true},
	{"remote_max_retries", read_max_retries, true},
	{"remote_read_timeout_secs", read_read_timeout, true},
	{"remote_silence_secs", read_silence, false},
	{"require_signed_plan", read_require_signed_plan, false},
	{"reserve", read_reserve, false},
	{"services", read_services, false},
	{"subdir", read_subdir, false},
};
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
_Static_assert(KEYS <= 32, "loader.seen has a bit for each");

/* -- files ----------------------------------------------------------------------------------------------------------- */

static void warn(struct loader *l, const struct err *e)
{
	vec_push(&l->warnings, arena_printf(l->a, "%s; left out", e->msg));
}

static int unknown_key(const struct yaml *y, const struct yaml_pair *p, struct err *e)
{
	auto_buf known = BUF_INIT(1000);
	for (size_t i = 0; i < KEYS; i++)
		buf_printf(&known, "%s%s", i ? ", " : "", keys[i].name);
	return err_new(e, ERR_INPUT, "%s:%u: unknown key '%.*s'; known are %s", y->where, (unsigned)p->line,
		       STR_ARG(p->key), known.p);
}

static int read_pair(struct loader *l, const struct yaml *y, const struct yaml_pair *p, struct err *e)
{
	size_t i = 0;
	while (i < KEYS && !str_eq_c(p->key, keys[i].name))
		i++;
	if (i == KEYS)
		return l->conda ? 0 : unknown_key(y, p, e);
	if ((l->conda && !keys[i].conda) || yaml_is_null(&p->value) || (l->seen >> i & 1))
		return 0;
	if (keys[i].read(l, &p->value, e) < 0)
		return -1;
	l->seen |= 1u << i;
	return 0;
}

static int read_pairs(struct loader *l, const struct yaml *y, struct err *e)
{
	if (yaml_is_null(y))
		return 0;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "expected lines of 'key: value'");
	for (uint32_t i = 0; i < y->n; i++) {
		struct err own = ERR_INIT;
		if (read_pair(l, y, &y->pair[i], &own) == 0)
			continue;
		if (!l->conda) {
			*e = own;
			return -1;
		}
		warn(l, &own);
	}
	return 0;
}

static int read_file(struct loader *l, const char *path, struct err *e)
{
	auto_buf text = BUF_INIT(FILE_MAX);
	if (fs_read_any(AT_FDCWD, path, &text, e) < 0)
		return -1;
	const struct yaml *y = yaml_parse(l->a, buf_str(&text), path, e);
	return y ? read_pairs(l, y, e) : -1;
}

/* A file that is not there is fine. */
static int try_file(struct loader *l, const char *path)
{
	struct err own = ERR_INIT;
	if (read_file(l, path, &own) == 0 || own.code == ERR_NOT_FOUND || own.sys == ENOTDIR)
		return 0;
	if (l->conda) {
		warn(l, &own);
		return 0;
	}
	*l->e = own;
	return -1;
}

static void try_folder(struct loader *l, const char *path)
{
	struct fs_list list = {0};
	struct err own = ERR_INIT;
	if (fs_list(AT_FDCWD, path, FILES_MAX, &list, &own) < 0) {
		if (own.code != ERR_NOT_FOUND && own.sys != ENOTDIR)
			warn(l, &own);
		return;
	}
	for (size_t i = list.n; i-- > 0;) /* of two files the later name counts, as it does for conda */
		if (str_ends(str_c(list.name[i]), STR(".yml")) || str_ends(str_c(list.name[i]), STR(".yaml")))
			try_file(l, arena_printf(l->a, "%s/%s", path, list.name[i]));
	fs_list_release(&list);
}

/* `folder`/`rest` where the folder is known and absolute. */
static const char *join(struct loader *l, const char *folder, const char *rest)
{
	return folder && folder[0] == '/' ? arena_printf(l->a, "%s/%s", folder, rest) : NULL;
}

static void read_conda_files(struct loader *l, const struct config_sources *s)
{
	const char *home = s->environment("HOME"), *xdg = s->environment("XDG_CONFIG_HOME");
	const char *config = xdg && xdg[0] == '/' ? xdg : join(l, home, ".config");
	const char *const files[] = {
		s->environment("CONDARC"),	    join(l, home, ".condarc"),
		join(l, home, ".conda/.condarc"),   join(l, home, ".conda/condarc"),
		join(l, home, ".conda/condarc.d"),  join(l, config, "conda/.condarc"),
		join(l, s->etc, "conda/.condarc"),  join(l, s->etc, "conda/condarc"),
		join(l, s->etc, "conda/condarc.d"),
	};
	l->conda = true;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (!files[i] || !files[i][0])
			continue;
		if (str_ends(str_c(files[i]), STR("/condarc.d")))
			try_folder(l, files[i]);
		else
			try_file(l, files[i]);
	}
}

/* "defaults" and "nodefaults" are words of conda's, not channels. */
static void expand_channels(struct loader *l)
{
	struct config *c = l->c;
	VEC(struct config_text) v = {0};
	bool set = c->channels.v != NULL;
	for (size_t i = 0; i < c->channels.n; i++) {
		const struct config_text *t = &c->channels.v[i];
		if (str_eq_c(t->s, "nodefaults"))
			continue;
		if (str_eq_c(t->s, "defaults") && c->default_channels.n) {
			for (size_t k = 0; k < c->default_channels.n; k++)
				vec_push(&v, c->default_channels.v[k]);
			continue;
		}
		vec_push(&v, *t);
	}
	if (set) {
		c->channels = (struct config_list){vec_copy(&v, l->a), v.n};
	} else {
		c->channels = c->default_channels;
	}
	vec_release(&v);
}

int config_load(struct arena *a, const struct config_sources *sources, struct config *ret, struct err *e)
{
	struct loader l = {.a = a, .c = ret, .e = e};
	*ret = (struct config){.connect_timeout_s = -1, .read_timeout_s = -1, .max_retries = -1, .silence_s = -1};
	const char *own[] = {
		sources->root ? arena_printf(a, "%s/config.yml", sources->root) : NULL,
		sources->etc ? arena_printf(a, "%s/slipway/config.yml", sources->etc) : NULL,
	};
	for (size_t i = 0; i < 2; i++)
		if (own[i] && try_file(&l, own[i]) < 0)
			return -1;
	read_conda_files(&l, sources);
	expand_channels(&l);
	ret->warnings = vec_copy(&l.warnings, a);
	ret->warnings_n = l.warnings.n;
	vec_release(&l.warnings);
	return read_services_variable(sources, ret, e);
}
