// SPDX-License-Identifier: Apache-2.0
/* Opam packages of an environment: of what each is made, and how a lock tells it (build/build.h). */
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/url.h"
#include "build/opam_set.h"
#include "store/store.h"

enum { KEY_SHOWN = 16 };

int build_opam_set_check(const struct build_opam_set *s, struct err *e)
{
	for (size_t i = 0; i < s->repos.n; i++)
		if (opam_index_check(s->repos.index[i], e) < 0)
			return -1;
	return 0;
}

/* A package of the lock that no repository has any more. */
static int take_as_it_was(struct build_opam_set *s, const struct opam_chosen *x, struct build_made *m, struct err *e)
{
	const struct pkg_record *r = x->before;
	if (!r || !r->has_sha256 || !store_has_tree(s->store, r->sha256))
		return err_new(e, ERR_NOT_FOUND,
			       "'opam:%.*s' %.*s is in none of the opam repositories, nor was it built here; name a "
			       "repository that has it, or ask for another version",
			       STR_ARG(x->name), STR_ARG(x->version));
	memcpy(m->sha256, r->sha256, SHA256_SIZE);
	m->size = r->size;
	m->kept = true;
	return build_opam_said(s->a, r, NULL, m->key, e);
}

static int read_file(struct build_opam_set *s, const struct opam_chosen *x, struct build_made *m, struct err *e)
{
	struct arena *a = s->a;
	struct oi_pkg p;
	const struct opam_index *ix = channel_needs_opam(s->needs, x->id, &p);
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(a, struct pkg_opam);
	struct err ignored = ERR_INIT; /* what is wrong with a field that is not used here stops nothing */
	struct str text;
	size_t k = 0;
	while (k < s->repos.n && s->repos.index[k] != ix)
		k++;
	if (k == s->repos.n)
		return err_new(e, ERR_NOT_FOUND, "no opam file of '%.*s'", STR_ARG(x->name));
	const struct channel *ch = &s->repos.channel[k];
	struct opam_index_pkg about = opam_index_pkg(ix, p);
	if (opam_index_text(ix, p, a, &text, e) < 0)
		return -1;
	pkg_opam_read(a, text, arena_printf(a, "%.*s/opam", STR_ARG(about.key)), d, &ignored);
	pkg_opam_package(a, d, opam, &ignored);
	m->package.opam = opam;
	auto_buf path = BUF_INIT(16384);
	if (ch->is_folder && url_file_path(ch->url, &path, &ignored) == 0)
		m->package.files =
			arena_printf(a, "%s/%.*s/%.*s/files", path.p, STR_ARG(about.folder), STR_ARG(about.key));
	else if (opam->extra_files)
		return err_new(
			e, ERR_UNSUPPORTED,
			"'opam:%.*s' %.*s has files beside its opam file, which only a repository that is a folder here "
			"gives",
			STR_ARG(x->name), STR_ARG(x->version));
	s->channel_of[m - s->v] = ch;
	return 0;
}

static int by_needed_name(const void *x, const void *y, void *ctx)
{
	const struct build_made *v = ctx;
	return str_cmp(v[*(const size_t *)x].package.name, v[*(const size_t *)y].package.name);
}

/* What it was built with must be what is to be there. */
static int check_gone(struct build_opam_set *s, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; !s->v[i].package.opam && k < s->of[i]->depends_n; k++) {
			uint8_t was[SHA256_SIZE];
			const struct opam_chosen *used =
				opam_chosen_named(s, opam_name_in_depends(s->of[i]->depends[k]));
			size_t at = 0;
			while (at < s->n && s->of[at] != used)
				at++;
			if (!used || at == s->n)
				continue;
			if (used->before && build_opam_said(s->a, used->before, NULL, was, e) < 0)
				return -1;
			if (!used->before || memcmp(was, s->v[at].key, SHA256_SIZE) != 0)
				return err_new(
					e, ERR_NOT_FOUND,
					"'opam:%.*s' %.*s is in none of the opam repositories any more, and would have to be built again "
					"with another 'opam:%.*s'",
					STR_ARG(s->of[i]->name), STR_ARG(s->of[i]->version), STR_ARG(used->name));
		}
	return 0;
}

/* Opam files, keys, and what is built already. */
int opam_set_describe(struct build_opam_set *s, struct err *e)
{
	s->channel_of = arena_array(s->a, const struct channel *, s->n + 1);
	for (size_t i = 0; i < s->n; i++) {
		struct build_made *m = &s->v[i];
		m->package.name = s->of[i]->name;
		m->package.version = s->of[i]->version;
		if ((s->of[i]->known ? read_file(s, s->of[i], m, e) : take_as_it_was(s, s->of[i], m, e)) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].package.n_needs > 1)
			qsort_r((size_t *)s->v[i].package.needs, s->v[i].package.n_needs, sizeof(size_t),
				by_needed_name, s->v);
	return build_opam_set_check(s, e) < 0 || build_workshop_keys(s->workshop, s->store, s->v, s->n, e) < 0
		       ? -1
		       : check_gone(s, e);
}

/* == as a lock ========================================================================================================= */

static struct str said_of(const struct build_opam_set *s, const struct build_made *m)
{
	auto_buf b = BUF_INIT(BUF_MAX); /* an opam file, which is bounded, may list any number of checksums */
	struct jw w = JW_INIT(&b, 0);
	uint8_t sum[SHA256_SIZE];
	build_opam_file_digest(m->package.opam->file, sum);
	jw_object(&w);
	jw_kv_hex(&w, "file", sum, SHA256_SIZE);
	jw_kv_hex(&w, "key", m->key, SHA256_SIZE);
	jw_key(&w, "sources");
	jw_array(&w);
	for (size_t i = 0; i < m->package.opam->sources; i++) {
		const struct pkg_opam_source *source = &m->package.opam->source[i];
		static const char *const kinds[] = {"sha256", "md5", "sha512", "sha1"};
		for (size_t k = 0; k < source->checksums; k++) {
			char hex[2 * DIGEST_MAX + 1];
			hex_encode(source->checksum[k].bytes, digest_size(source->checksum[k].kind), hex);
			jw_c(&w, arena_printf(s->a, "%s=%s", kinds[source->checksum[k].kind], hex));
		}
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return str_c(arena_printf(s->a, "\"opam\":%s", b.p));
}

int build_opam_said(struct arena *a, const struct pkg_record *r, uint8_t *file, uint8_t *key, struct err *e)
{
	struct str text =
		str_c(arena_printf(a, "{%.*s}", (int)r->extra_json.n, r->extra_json.n ? r->extra_json.p : ""));
	const struct json *j = json_parse(a, text, "the lock", e), *o = NULL;
	const struct {
		const char *name;
		uint8_t *to;
	} v[] = {{"file", file}, {"key", key}};
	if (!j || json_opt_object(j, "opam", &o, e) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		struct str hex = STR_NONE;
		if (v[i].to && (!o || json_opt_str(o, v[i].name, &hex, e) < 0 || !str_unhex(hex, v[i].to, SHA256_SIZE)))
			return err_new(
				e, ERR_INPUT,
				"package '%.*s' of the lock does not say of what it is made; export the recipe again",
				STR_ARG(r->name));
	}
	return 0;
}

void build_opam_set_record(const struct build_opam_set *s, size_t i, struct pkg_record *r)
{
	struct arena *a = s->a;
	const struct build_made *m = &s->v[i];
	const struct opam_chosen *x = s->of[i];
	char key[SHA256_HEX_SIZE];
	if (!m->package.opam) {
		*r = *x->before;
		return;
	}
	const struct channel *ch = s->channel_of[i];
	hex_encode(m->key, SHA256_SIZE, key);
	*r = (struct pkg_record){
		.name = str_c(arena_printf(a, "opam:%.*s", STR_ARG(x->name))),
		.version = x->version,
		.build = str_c(arena_printf(a, "h%.*s", KEY_SHOWN, key)),
		.channel = ch->shown,
		.subdir = channel_host_subdir(),
		.url = str_c(arena_printf(a, "%.*s/packages/%.*s/%.*s.%.*s/opam", STR_ARG(ch->shown), STR_ARG(x->name),
					  STR_ARG(x->name), STR_ARG(x->version))),
		.size = m->size,
		.has_sha256 = m->kept,
		.license = m->package.opam->license.n ? m->package.opam->license.v[0] : STR_NONE,
		.depends = x->depends,
		.depends_n = (uint32_t)x->depends_n,
		.extra_json = said_of(s, m),
	};
	r->fn = str_c(
		arena_printf(a, "opam-%.*s-%.*s-%.*s.conda", STR_ARG(x->name), STR_ARG(x->version), STR_ARG(r->build)));
	if (m->kept)
		memcpy(r->sha256, m->sha256, SHA256_SIZE);
}

/* The file that the lock was made with, or one that builds the same. */
int build_opam_set_check_files(struct build_opam_set *s, struct err *e)
{
	for (size_t i = 0; i < s->n; i++) {
		uint8_t want[SHA256_SIZE], have[SHA256_SIZE];
		const struct opam_chosen *x = s->of[i];
		if (!s->v[i].package.opam)
			continue;
		if (build_opam_said(s->a, x->before, want, NULL, e) < 0)
			return -1;
		build_opam_file_digest(s->v[i].package.opam->file, have);
		if (memcmp(want, have, SHA256_SIZE) != 0)
			return err_new(
				e, ERR_VERIFY,
				"the opam file of '%.*s' %.*s in '%.*s' is not the one that the recipe was made with: "
				"it builds something else; make the recipe anew with 'slipway env update --all' and 'slipway "
				"env export', or name a repository of that time",
				STR_ARG(x->before->name), STR_ARG(x->version), STR_ARG(s->channel_of[i]->shown));
	}
	return 0;
}
