// SPDX-License-Identifier: Apache-2.0
/* What is needed of an opam file here: where its archives lie, and a few fields of its top. The file is read by pkg (pkg_opam_read). */
#include <stdlib.h>

#include "base/vec.h"
#include "channel/opam.h"
#include "pkg/pkg.h"

static void add_checksums(struct opam_source *s, const struct pkg_opam_value *v)
{
	for (v = pkg_opam_first(v); v && s->checksums < OPAM_CHECKSUMS_MAX; v = v->next)
		if (v->kind == PKG_OPAM_STRING && pkg_opam_checksum_parse(v->text, &s->checksum[s->checksums]))
			s->checksums++;
}

static void read_source(const struct pkg_opam_item *section, struct opam_source *ret)
{
	static const char *const words[] = {"src", "archive", "http"};
	*ret = (struct opam_source){0};
	for (size_t i = 0; i < 3 && !ret->src.n; i++)
		ret->src = pkg_opam_text(pkg_opam_first(pkg_opam_get_in(section, words[i])));
	add_checksums(ret, pkg_opam_get_in(section, "checksum"));
}

static int read_sources(struct arena *a, const struct pkg_opam_doc *d, struct opam_file *ret, struct err *e)
{
	static const char *const kinds[] = {"url", "extra-source"};
	for (int pass = 0; pass < 2; pass++) {
		size_t n = 0;
		for (size_t k = 0; k < 2; k++)
			for (const struct pkg_opam_item *i = NULL; (i = pkg_opam_section(d, kinds[k], i)); n++)
				if (pass)
					read_source(i, &((struct opam_source *)ret->source)[n]);
		if (n > OPAM_SOURCES_MAX)
			return err_new(e, ERR_LIMIT, "%s: more than %d archives", d->where, OPAM_SOURCES_MAX);
		if (!pass)
			ret->source = arena_array(a, struct opam_source, n);
		ret->sources = n;
	}
	return 0;
}

/* A value that is a string, or begins with one: names and versions are written so. */
static struct str text_of(const struct pkg_opam_doc *d, const char *field)
{
	return pkg_opam_text(pkg_opam_first(pkg_opam_get(d, field)));
}

int opam_file_read(struct arena *a, struct str text, const char *where, struct opam_file *ret, struct err *e)
{
	struct pkg_opam_doc d;
	*ret = (struct opam_file){0};
	int rc = pkg_opam_read(a, text, where, &d, e);
	if (rc < 0 && e->code == ERR_LIMIT)
		return -1;
	ret->name = text_of(&d, "name");
	ret->version = text_of(&d, "version");
	const struct pkg_opam_value *v = pkg_opam_get(&d, "flags");
	if (v) {
		ret->has_flags = true;
		ret->flags_at = v->from;
		ret->flags_end = v->to;
	}
	for (v = pkg_opam_first(pkg_opam_get(&d, "archive-mirrors")); v; v = v->next)
		ret->has_mirrors |= str_eq(pkg_opam_text(v), STR("cache"));
	return read_sources(a, &d, ret, e) < 0 ? -1 : rc;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

const struct digest_value *opam_best(const struct opam_source *s)
{
	static const enum digest_kind order[] = {DIGEST_SHA512, DIGEST_SHA256, DIGEST_MD5};
	for (size_t k = 0; k < 3; k++)
		for (size_t i = 0; i < s->checksums; i++)
			if (s->checksum[i].kind == order[k])
				return &s->checksum[i];
	return NULL;
}

struct str opam_cache_path(struct arena *a, const struct digest_value *d)
{
	char hex[2 * DIGEST_MAX + 1];
	hex_encode(d->bytes, digest_size(d->kind), hex);
	const char *kind = d->kind == DIGEST_MD5 ? "md5" : d->kind == DIGEST_SHA256 ? "sha256" : "sha512";
	return str_c(arena_printf(a, "cache/%s/%.2s/%s", kind, hex, hex));
}
