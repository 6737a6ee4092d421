// SPDX-License-Identifier: Apache-2.0
/* What a host is beyond its platform, and for which hosts something is. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "channel/channel.h"

enum { RELEASE_MAX = 64 << 10, WORD_MAX = 64 };

/* -- what a host is ------------------------------------------------------------------------------------------------- */

static bool is_word(struct str s)
{
	bool good = s.n > 0 && s.n <= WORD_MAX;
	for (size_t i = 0; good && i < s.n; i++)
		good = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
		       (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '.' || s.p[i] == '-' || s.p[i] == '_' ||
		       s.p[i] == '+';
	return good;
}

/* os-release(5): KEY=value, or in quotes; a value that is no plain word is left out. */
static void read_release(struct arena *a, struct str text, struct channel_os *ret)
{
	struct str line, key;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (!str_take_until(&line, '=', &key))
			continue;
		if (line.n >= 2 && (line.p[0] == '"' || line.p[0] == '\'') && line.p[line.n - 1] == line.p[0])
			line = str_of(line.p + 1, line.n - 2);
		if (!is_word(line))
			continue;
		if (str_eq(key, STR("ID")))
			ret->id = arena_str(a, line);
		else if (str_eq(key, STR("VERSION_ID")))
			ret->version = arena_str(a, line);
		else if (str_eq(key, STR("VERSION_CODENAME")))
			ret->codename = arena_str(a, line);
	}
}

int channel_os_host(struct arena *a, const char *(*env)(const char *), struct channel_os *ret, struct err *e)
{
	const char *own = env ? env("SLIPWAY_OS_RELEASE") : NULL;
	const char *const places[] = {own ? own : "/etc/os-release", own ? NULL : "/usr/lib/os-release"};
	auto_buf b = BUF_INIT(RELEASE_MAX);
	*ret = (struct channel_os){
		.subdir = channel_host_subdir(), .id = STR(""), .version = STR(""), .codename = STR("")};
	for (size_t i = 0; i < 2 && places[i] && !b.n; i++) {
		struct err ignored = ERR_INIT;
		if (fs_read(AT_FDCWD, places[i], &b, &ignored) < 0)
			buf_clear(&b);
	}
	read_release(a, buf_str(&b), ret);
	struct pkg_record *v = NULL;
	if (channel_virtual(a, ret->subdir, env, &v, &ret->virtuals_n, e) < 0)
		return -1;
	ret->virtuals = v;
	return 0;
}

/* -- as a request says it ------------------------------------------------------------------------------------------- */

void channel_os_put(const struct channel_os *os, struct buf *b)
{
	buf_printf(b, "os=%.*s&version=%.*s&codename=%.*s&virtual=", STR_ARG(os->id), STR_ARG(os->version),
		   STR_ARG(os->codename));
	bool first = true;
	for (size_t i = 0; i < os->virtuals_n; i++) {
		const struct pkg_record *r = &os->virtuals[i];
		if (!is_word(r->name) || !is_word(r->version))
			continue;
		buf_printf(b, "%s%.*s%%3D%.*s", first ? "" : "%2C", STR_ARG(r->name), STR_ARG(r->version));
		first = false;
	}
}

int channel_os_parse(struct arena *a, struct str id, struct str version, struct str codename, struct str virtuals,
		     struct channel_os *ret, struct err *e)
{
	VEC(struct pkg_record) list = {0};
	const struct str words[] = {id, version, codename};
	struct str item, name;
	*ret = (struct channel_os){
		.id = arena_str(a, id), .version = arena_str(a, version), .codename = arena_str(a, codename)};
	int rc = 0;
	for (size_t i = 0; i < 3 && rc == 0; i++)
		if (words[i].n && !is_word(words[i]))
			rc = err_new(e, ERR_INPUT, "an operating system is told in letters, digits and ._+-");
	while (rc == 0 && virtuals.n) {
		if (!str_take_until(&virtuals, ',', &item)) {
			item = virtuals;
			virtuals = STR_NONE;
		}
		if (!str_take_until(&item, '=', &name) || !is_word(name) || !is_word(item) ||
		    list.n >= CHANNEL_OS_VIRTUALS)
			rc = err_new(e, ERR_INPUT,
				     "virtual packages are told as NAME=VERSION, apart by commas, at most %d",
				     CHANNEL_OS_VIRTUALS);
		else
			*vec_add(&list) =
				(struct pkg_record){.name = arena_str(a, name), .version = arena_str(a, item)};
	}
	ret->virtuals = vec_copy(&list, a);
	ret->virtuals_n = list.n;
	vec_release(&list);
	return rc;
}

/* -- for whom something is ------------------------------------------------------------------------------------------ */

static bool take_range(struct str *ranges, struct str *ret)
{
	while (ranges->n) {
		if (!str_take_until(ranges, ';', ret)) {
			*ret = *ranges;
			*ranges = STR_NONE;
		}
		*ret = str_trim(*ret);
		if (ret->n)
			return true;
	}
	return false;
}

/* "debian", or "debian >=11,<13" */
static const struct spec *parse_range(struct arena *a, struct str range, struct str *ret_name, struct err *e)
{
	struct str rest = range;
	if (range.n > CHANNEL_OS_RANGE || !str_take_word(&rest, ret_name) || !is_word(*ret_name)) {
		err_new(e, ERR_INPUT,
			"'%.*s': write a system and its versions, as in 'debian >=11,<13', 'bookworm' or '__glibc "
			">=2.28'",
			STR_ARG(str_head(range, 100)));
		return NULL;
	}
	return pkg_conda.spec_parse(a, range, SPEC_DEPENDENCY, e);
}

int channel_os_check(struct str ranges, struct err *e)
{
	struct str range, name;
	while (take_range(&ranges, &range)) {
		auto_arena a = ARENA_INIT;
		if (!parse_range(&a, range, &name, e))
			return -1;
	}
	return 0;
}

static bool matches(const struct spec *s, struct str name, struct str version)
{
	const struct pkg_record r = {.name = name, .version = version, .build = STR("0")};
	return pkg_conda.spec_match(s, &r);
}

static bool has_virtual(const struct channel_os *os, const struct spec *s, struct str name)
{
	for (size_t i = 0; i < os->virtuals_n; i++)
		if (str_eq(os->virtuals[i].name, name) && matches(s, name, os->virtuals[i].version))
			return true;
	return false;
}

static void put_system(const struct channel_os *os, struct buf *b)
{
	buf_printf(b, "%.*s%s%.*s", STR_ARG(os->id.n ? os->id : STR("a system without a name")),
		   os->version.n ? " " : "", STR_ARG(os->version));
}

static void put_virtual(const struct channel_os *os, struct str name, struct buf *b)
{
	for (size_t i = 0; i < os->virtuals_n; i++)
		if (str_eq(os->virtuals[i].name, name)) {
			buf_printf(b, "%.*s %.*s", STR_ARG(name), STR_ARG(os->virtuals[i].version));
			return;
		}
	buf_printf(b, "without %.*s", STR_ARG(name));
}

bool channel_os_meets(const struct channel_os *os, struct str ranges, struct arena *a, struct str *ret_why)
{
	struct str range, name;
	bool named = false, met = false;
	auto_buf systems = BUF_INIT(CHANNEL_OS_RANGE * CHANNEL_OS_VIRTUALS),
		 b = BUF_INIT(CHANNEL_OS_RANGE * CHANNEL_OS_VIRTUALS);
	*ret_why = STR("");
	while (take_range(&ranges, &range)) {
		auto_arena own = ARENA_INIT;
		struct err ignored = ERR_INIT;
		const struct spec *s = parse_range(&own, range, &name, &ignored);
		if (s && str_starts(name, STR("__"))) {
			if (has_virtual(os, s, name))
				continue;
			buf_printf(&b, "it needs %.*s, and this host is ", STR_ARG(range));
			put_virtual(os, name, &b);
			*ret_why = arena_str(a, buf_str(&b));
			return false;
		}
		named = true;
		met |= s && (str_eq(name, os->codename) || (str_eq(name, os->id) && matches(s, name, os->version)));
		buf_printf(&systems, "%s%.*s", systems.n ? ", " : "", STR_ARG(range));
	}
	if (!named || met)
		return true;
	buf_printf(&b, "it is for %s, and this host is ", systems.p);
	put_system(os, &b);
	*ret_why = arena_str(a, buf_str(&b));
	return false;
}
