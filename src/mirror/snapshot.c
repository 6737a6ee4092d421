// SPDX-License-Identifier: Apache-2.0
/* The text of thin snapshots: doc/formats/snapshot.md. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"
#include "mirror/mirror.h"
#include "pkg/pkg.h"

enum { URL_BYTES = 2048, WORD_BYTES = 64 };
static const char *const whens[] =
	{[MIRROR_SNAPSHOT_NOW] = "now", [MIRROR_SNAPSHOT_BEFORE] = "before", [MIRROR_SNAPSHOT_AFTER] = "after"};

const char *mirror_snapshot_when_name(enum mirror_snapshot_when when)
{
	return whens[when];
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

struct reader {
	struct arena *a;
	struct mirror_snapshot *s;
	VEC(struct str) channels;
	VEC(struct mirror_snapshot_package) packages;
	struct map names;
	bool begun;
};

static void reader_release(struct reader *r)
{
	vec_release(&r->channels);
	vec_release(&r->packages);
	map_release(&r->names);
}
#define auto_reader cleanup_with(reader_release) struct reader

/* Printable ASCII without blanks: there is no room in it for anything but a name, a version, an address. */
static int check_word(struct str word, size_t max, const char *what, struct err *e)
{
	bool good = word.n > 0 && word.n <= max;
	for (size_t i = 0; good && i < word.n; i++)
		good = word.p[i] > ' ' && word.p[i] < 0x7f;
	return good ? 0 : err_new(e, ERR_INPUT, "%s is 1 to %zu printable characters without blanks", what, max);
}

static int take(struct str *rest, struct str *ret, size_t max, const char *what, struct err *e)
{
	if (!str_take_word(rest, ret))
		return err_new(e, ERR_INPUT, "%s is missing", what);
	return check_word(*ret, max, what, e);
}

static int read_when(struct reader *r, struct str rest, struct err *e)
{
	struct str word;
	if (take(&rest, &word, WORD_BYTES, "when", e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(whens) / sizeof(*whens); i++) {
		if (!str_eq_c(word, whens[i]))
			continue;
		r->s->when = (enum mirror_snapshot_when)i;
		if (i != MIRROR_SNAPSHOT_NOW && take(&rest, &r->s->operation, WORD_BYTES, "the operation", e) < 0)
			return -1;
		return rest.n ? err_new(e, ERR_INPUT, "there is more in the line than may be") : 0;
	}
	return err_new(e, ERR_INPUT, "'when' is now, before or after");
}

static int read_channel(struct reader *r, struct str rest, struct err *e)
{
	struct str url;
	if (take(&rest, &url, URL_BYTES, "a channel", e) < 0)
		return -1;
	if (rest.n)
		return err_new(e, ERR_INPUT, "there is more in the line than may be");
	struct str host = url;
	ptrdiff_t scheme = str_search(url, STR("://"));
	if (scheme > 0) {
		host = str_skip(url, (size_t)scheme + 3);
		ptrdiff_t slash = str_find(host, '/');
		host = slash < 0 ? host : str_head(host, (size_t)slash);
	}
	if (scheme <= 0 || str_find(host, '@') >= 0 || str_search(url, STR("/t/")) >= 0 || str_find(url, '?') >= 0)
		return err_new(e, ERR_INPUT, "a channel is a URL without user, password, token or query");
	if (r->channels.n >= MIRROR_SNAPSHOT_CHANNELS)
		return err_new(e, ERR_LIMIT, "more than %d channels", MIRROR_SNAPSHOT_CHANNELS);
	vec_push(&r->channels, url);
	return 0;
}

static int read_package(struct reader *r, struct str rest, struct err *e)
{
	struct mirror_snapshot_package p = {0};
	struct str place;
	uint64_t channel;
	if (take(&rest, &p.name, 256, "a package's name", e) < 0 ||
	    (!pkg_is_opam(p.name, NULL) && pkg_name_check(p.name, e) < 0) ||
	    take(&rest, &p.version, 256, "a version", e) < 0 || take(&rest, &p.build, 128, "a build", e) < 0 ||
	    take(&rest, &p.subdir, WORD_BYTES, "a platform", e) < 0 || pkg_subdir_check(p.subdir, e) < 0 ||
	    take(&rest, &place, 4, "the channel's number", e) < 0)
		return -1;
	if (rest.n)
		return err_new(e, ERR_INPUT, "there is more in the line than may be");
	if (!str_to_u64(place, &channel) || channel < 1 || channel > r->channels.n)
		return err_new(e, ERR_INPUT, "'%.*s' is the number of no channel above", STR_ARG(place));
	if (r->packages.n >= MIRROR_SNAPSHOT_PACKAGES)
		return err_new(e, ERR_LIMIT, "more than %d packages", MIRROR_SNAPSHOT_PACKAGES);
	uint64_t *seen = map_put(&r->names, p.name);
	if (*seen)
		return err_new(e, ERR_INPUT, "the package '%.*s' is there twice", STR_ARG(p.name));
	*seen = 1;
	p.channel = (uint32_t)channel - 1;
	vec_push(&r->packages, p);
	return 0;
}

static int read_environment(struct reader *r, struct str rest, struct err *e)
{
	if (r->s->environment.n)
		return err_new(e, ERR_INPUT, "the environment is named twice");
	if (take(&rest, &r->s->environment, WORD_BYTES, "the environment", e) < 0)
		return -1;
	for (size_t i = 0; i < r->s->environment.n; i++)
		if (strchr("/\\", r->s->environment.p[i]))
			return err_new(e, ERR_INPUT, "an environment's name holds no slash");
	return rest.n ? err_new(e, ERR_INPUT, "there is more in the line than may be") : 0;
}

static int read_line(struct reader *r, struct str line, struct err *e)
{
	struct str word;
	if (!str_take_word(&line, &word))
		return err_new(e, ERR_INPUT, "an empty line");
	line = str_trim(line);
	if (!r->begun) {
		r->begun = str_eq(word, STR("snapshot")) && str_eq(line, STR("1"));
		return r->begun ? 0 : err_new(e, ERR_INPUT, "a snapshot begins with 'snapshot 1'");
	}
	if (str_eq(word, STR("environment")))
		return read_environment(r, line, e);
	if (str_eq(word, STR("when")))
		return read_when(r, line, e);
	if (str_eq(word, STR("channel")))
		return read_channel(r, line, e);
	if (str_eq(word, STR("package")))
		return read_package(r, line, e);
	return err_new(e, ERR_INPUT, "'%.*s' is no word of a snapshot: environment, when, channel, package",
		       STR_ARG(word));
}

static int package_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct mirror_snapshot_package *)a)->name,
		       ((const struct mirror_snapshot_package *)b)->name);
}

int mirror_snapshot_parse(struct arena *a, struct str text, const char *where, struct mirror_snapshot *ret,
			  struct err *e)
{
	auto_reader r = {.a = a, .s = ret};
	struct str line;
	size_t n = 0;
	*ret = (struct mirror_snapshot){0};
	if (text.n > MIRROR_SNAPSHOT_MAX)
		return err_new(e, ERR_LIMIT, "%s: longer than %d MiB", where, MIRROR_SNAPSHOT_MAX >> 20);
	for (text = arena_str(a, text); str_take_line(&text, &line);) {
		n++;
		if (read_line(&r, line, e) < 0)
			return err_ctx(e, "%s:%zu", where, n);
	}
	if (!r.begun || !ret->environment.n)
		return err_new(e, ERR_INPUT, "%s: %s", where,
			       r.begun ? "no environment is named" : "a snapshot begins with 'snapshot 1'");
	vec_sort(&r.packages, package_cmp);
	ret->channels = vec_copy(&r.channels, a);
	ret->channels_n = (uint32_t)r.channels.n;
	ret->packages = vec_copy(&r.packages, a);
	ret->packages_n = (uint32_t)r.packages.n;
	return 0;
}

/* -- writing -------------------------------------------------------------------------------------------------------- */

static const struct mirror_snapshot_package *sorted(const struct mirror_snapshot *s,
						    struct mirror_snapshot_package *room)
{
	if (s->packages_n)
		memcpy(room, s->packages, s->packages_n * sizeof(*room));
	if (s->packages_n > 1)
		qsort(room, s->packages_n, sizeof(*room), package_cmp);
	return room;
}

void mirror_snapshot_write(const struct mirror_snapshot *s, struct buf *b)
{
	auto_free struct mirror_snapshot_package *room = xcalloc((size_t)s->packages_n + 1, sizeof(*room));
	const struct mirror_snapshot_package *p = sorted(s, room);
	buf_printf(b, "snapshot 1\nenvironment %.*s\nwhen %s", STR_ARG(s->environment), whens[s->when]);
	if (s->when != MIRROR_SNAPSHOT_NOW)
		buf_printf(b, " %.*s", STR_ARG(s->operation));
	buf_put_char(b, '\n');
	for (uint32_t i = 0; i < s->channels_n; i++)
		buf_printf(b, "channel %.*s\n", STR_ARG(s->channels[i]));
	for (uint32_t i = 0; i < s->packages_n; i++)
		buf_printf(b, "package %.*s %.*s %.*s %.*s %u\n", STR_ARG(p[i].name), STR_ARG(p[i].version),
			   STR_ARG(p[i].build), STR_ARG(p[i].subdir), p[i].channel + 1);
}

void mirror_snapshot_recipe(const struct mirror_snapshot *s, struct buf *b)
{
	buf_printf(b, "recipe 1\nname %.*s\n", STR_ARG(s->environment));
	for (uint32_t i = 0; i < s->packages_n; i++)
		if (!str_eq(s->packages[i].subdir, STR("noarch"))) {
			buf_printf(b, "subdir %.*s\n", STR_ARG(s->packages[i].subdir));
			break;
		}
	for (uint32_t i = 0; i < s->channels_n; i++)
		buf_printf(b, "channel %.*s\n", STR_ARG(s->channels[i]));
	for (uint32_t i = 0; i < s->packages_n; i++) {
		const struct mirror_snapshot_package *p = &s->packages[i];
		buf_printf(b, "spec %.*s/%.*s::%.*s==%.*s=%.*s\n", STR_ARG(s->channels[p->channel]), STR_ARG(p->subdir),
			   STR_ARG(p->name), STR_ARG(p->version), STR_ARG(p->build));
	}
}

/* -- comparing ------------------------------------------------------------------------------------------------------ */

static bool same(const struct mirror_snapshot *x, const struct mirror_snapshot_package *p,
		 const struct mirror_snapshot *y, const struct mirror_snapshot_package *q)
{
	return str_eq(p->version, q->version) && str_eq(p->build, q->build) && str_eq(p->subdir, q->subdir) &&
	       str_eq(x->channels[p->channel], y->channels[q->channel]);
}

uint32_t mirror_snapshot_compare(const struct mirror_snapshot *old, const struct mirror_snapshot *new, struct arena *a,
				 struct mirror_snapshot_difference **ret)
{
	uint32_t n = 0, i = 0, k = 0;
	*ret = arena_array(a, struct mirror_snapshot_difference, (size_t)old->packages_n + new->packages_n + 1);
	while (i < old->packages_n || k < new->packages_n) {
		const struct mirror_snapshot_package *p = i < old->packages_n ? &old->packages[i] : NULL;
		const struct mirror_snapshot_package *q = k < new->packages_n ? &new->packages[k] : NULL;
		int c = !p ? 1 : !q ? -1 : str_cmp(p->name, q->name);
		i += c <= 0;
		k += c >= 0;
		if (c == 0 && same(old, p, new, q))
			continue;
		(*ret)[n++] = (struct mirror_snapshot_difference){c <= 0 ? p : NULL, c >= 0 ? q : NULL};
	}
	return n;
}
