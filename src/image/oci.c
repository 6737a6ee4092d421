// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON of images: index, manifest, configuration (OCI image specification 1.1, and Docker's forms of the same, schema 2), and
 * manifest.json of `docker save`. Text in, data out.
 */
#include <sys/utsname.h>

#include "base/json.h"
#include "image/internal.h"

enum { WORDS_MAX = 10000, WORD_BYTES_MAX = 128 << 10 };

static int bad(const struct json *j, const char *where, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is refused: offset %zu: %s", where, j ? j->offset : 0, why);
}

/* == descriptors =================================================================================================== */

static int platform_of(const struct json *j, struct oci_descriptor *ret, struct err *e)
{
	const struct json *p;
	if (json_opt_object(j, "platform", &p, e) < 0)
		return -1;
	if (p && (json_opt_str(p, "os", &ret->os, e) < 0 || json_opt_str(p, "architecture", &ret->arch, e) < 0 ||
		  json_opt_str(p, "variant", &ret->variant, e) < 0))
		return -1;
	return 0;
}

static int annotations_of(const struct json *j, struct oci_descriptor *ret, struct err *e)
{
	const struct json *notes;
	struct str reference = STR_NONE;
	if (json_opt_object(j, "annotations", &notes, e) < 0)
		return -1;
	if (notes && (json_opt_str(notes, "org.opencontainers.image.ref.name", &ret->ref_name, e) < 0 ||
		      json_opt_str(notes, "io.containerd.image.name", &ret->image_name, e) < 0 ||
		      json_opt_str(notes, "vnd.docker.reference.type", &reference, e) < 0))
		return -1;
	ret->attestation = str_eq(reference, STR("attestation-manifest"));
	return 0;
}

static int descriptor(const struct json *j, const char *where, struct oci_descriptor *ret, struct err *e)
{
	uint8_t sum[SHA256_SIZE];
	int64_t size;
	*ret = (struct oci_descriptor){0};
	if (!j || j->type != JSON_OBJECT)
		return bad(j, where, "a descriptor is missing, or no object", e);
	if (json_opt_str(j, "mediaType", &ret->media_type, e) < 0 || json_get_str(j, "digest", &ret->digest, e) < 0 ||
	    json_get_int(j, "size", &size, e) < 0)
		return -1;
	if (str_starts(ret->digest, STR("sha512:")))
		return err_new(e, ERR_UNSUPPORTED, "'%s' names blobs by SHA-512; only SHA-256 is read", where);
	/* lower case: it is the name of a file, too */
	for (size_t i = 0; i < ret->digest.n; i++)
		if (ret->digest.p[i] >= 'A' && ret->digest.p[i] <= 'F')
			return bad(j, where, "a digest is not written in lower case", e);
	if (!image_digest_parse(ret->digest, sum))
		return bad(j, where, "a digest is not 'sha256:' and 64 digits", e);
	if (size < 0)
		return bad(j, where, "a size is negative", e);
	ret->size = (uint64_t)size;
	return platform_of(j, ret, e) < 0 || annotations_of(j, ret, e) < 0 ? -1 : 0;
}

static int descriptors(const struct json *list, const char *where, size_t max, struct arena *a,
		       struct oci_descriptor **ret, size_t *n, struct err *e)
{
	if (list->n > max)
		return err_new(e, ERR_LIMIT, "'%s' is refused: it lists %u blobs, more than %zu", where, list->n, max);
	*ret = arena_array(a, struct oci_descriptor, list->n);
	*n = list->n;
	for (size_t i = 0; i < list->n; i++)
		if (descriptor(&list->item[i], where, &(*ret)[i], e) < 0)
			return -1;
	return 0;
}

static const struct json *parse(struct arena *a, struct str text, const char *where, struct err *e)
{
	if (text.n > IMAGE_JSON_MAX) {
		err_new(e, ERR_LIMIT, "'%s' is refused: it has %zu bytes, more than %d", where, text.n, IMAGE_JSON_MAX);
		return NULL;
	}
	return json_parse(a, text, where, e);
}

int oci_parse_document(struct str text, const char *where, struct arena *a, struct oci_document *ret, struct err *e)
{
	const struct json *manifests, *layers;
	*ret = (struct oci_document){0};
	const struct json *j = parse(a, text, where, e);
	if (!j)
		return -1;
	if (j->type != JSON_OBJECT)
		return bad(j, where, "it is no JSON object", e);
	if (json_opt_array(j, "manifests", &manifests, e) < 0 || json_opt_array(j, "layers", &layers, e) < 0)
		return -1;
	if (manifests && layers)
		return bad(j, where, "it is an index and a manifest at once", e);
	if (manifests) {
		ret->kind = OCI_INDEX;
		return descriptors(manifests, where, IMAGE_MANIFESTS_MAX, a, &ret->manifests, &ret->n_manifests, e);
	}
	if (!layers)
		return json_get(j, "fsLayers")
			       ? err_new(e, ERR_UNSUPPORTED,
					 "'%s' is a manifest of Docker's first schema, which is not read; "
					 "'skopeo copy' makes an OCI layout of it",
					 where)
			       : bad(j, where, "it is neither an index nor a manifest of an image", e);
	ret->kind = OCI_MANIFEST;
	if (descriptor(json_get(j, "config"), where, &ret->config, e) < 0)
		return -1;
	return descriptors(layers, where, IMAGE_LAYERS_MAX, a, &ret->layers, &ret->n_layers, e);
}

/* == configuration ================================================================================================= */

static int words(const struct json *j, const char *key, const char *where, struct arena *a, const struct str **ret,
		 size_t *n, struct err *e)
{
	const struct json *list;
	if (!j || json_opt_array(j, key, &list, e) < 0)
		return j ? -1 : 0;
	if (list && list->n > WORDS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: '%s' has more than %d words", where, key, WORDS_MAX);
	*n = list ? list->n : 0;
	struct str *v = arena_array(a, struct str, *n);
	for (size_t i = 0; i < *n; i++) {
		const struct json *w = &list->item[i];
		if (w->type != JSON_STRING || w->string.n > WORD_BYTES_MAX || strlen(w->string.p) != w->string.n)
			return bad(w, where, "a word of the configuration is no string, too long, or has a NUL in it",
				   e);
		v[i] = w->string;
	}
	*ret = v;
	return 0;
}

static int line(const struct json *j, const char *key, const char *where, struct str *ret, struct err *e)
{
	if (!j || json_opt_str(j, key, ret, e) < 0)
		return j ? -1 : 0;
	return ret->n > WORD_BYTES_MAX || strlen(ret->p ? ret->p : "") != ret->n
		       ? bad(j, where, "a word of the configuration is too long, or has a NUL in it", e)
		       : 0;
}

static int check_env(const struct json *j, const char *where, const struct image_config *c, struct err *e)
{
	for (size_t i = 0; i < c->n_env; i++)
		if (str_find(c->env[i], '=') <= 0)
			return bad(j, where, "a variable of 'Env' is not NAME=VALUE", e);
	return 0;
}

static int diff_ids(const struct json *j, const char *where, struct arena *a, struct oci_config *ret, struct err *e)
{
	const struct json *rootfs, *list;
	if (json_opt_object(j, "rootfs", &rootfs, e) < 0)
		return -1;
	if (!rootfs)
		return bad(j, where,
			   "it is no configuration of an image ('rootfs' is missing): another kind of artifact?", e);
	if (json_opt_array(rootfs, "diff_ids", &list, e) < 0)
		return -1;
	if (list && list->n > IMAGE_LAYERS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: the image has %u layers, more than %d", where, list->n,
			       IMAGE_LAYERS_MAX);
	ret->n_diff_ids = list ? list->n : 0;
	ret->diff_ids = arena_zalloc_n(a, ret->n_diff_ids, SHA256_SIZE);
	for (size_t i = 0; i < ret->n_diff_ids; i++)
		if (list->item[i].type != JSON_STRING || !image_digest_parse(list->item[i].string, ret->diff_ids[i]))
			return bad(&list->item[i], where, "a diff_id is not 'sha256:' and 64 digits", e);
	return 0;
}

int oci_parse_config(struct str text, const char *where, struct arena *a, struct oci_config *ret, struct err *e)
{
	const struct json *run = NULL;
	struct image_config *c = &ret->config;
	*ret = (struct oci_config){0};
	const struct json *j = parse(a, text, where, e);
	if (!j)
		return -1;
	if (j->type != JSON_OBJECT)
		return bad(j, where, "it is no JSON object", e);
	if (json_opt_object(j, "config", &run, e) < 0 || line(j, "os", where, &c->os, e) < 0 ||
	    line(j, "architecture", where, &c->arch, e) < 0 || line(j, "variant", where, &c->variant, e) < 0 ||
	    line(run, "User", where, &c->user, e) < 0 || line(run, "WorkingDir", where, &c->workdir, e) < 0 ||
	    words(run, "Env", where, a, &c->env, &c->n_env, e) < 0 || check_env(j, where, c, e) < 0 ||
	    words(run, "Entrypoint", where, a, &c->entrypoint, &c->n_entrypoint, e) < 0 ||
	    words(run, "Cmd", where, a, &c->cmd, &c->n_cmd, e) < 0)
		return -1;
	return diff_ids(j, where, a, ret, e);
}

/* == docker save =================================================================================================== */

static int strings(const struct json *j, const char *key, const char *where, struct arena *a, struct str **ret,
		   size_t *n, struct err *e)
{
	const struct str *v = NULL;
	if (words(j, key, where, a, &v, n, e) < 0)
		return -1;
	*ret = arena_copy(a, v, *n, sizeof(*v));
	return 0;
}

int oci_parse_saved(struct str text, const char *where, struct arena *a, struct oci_saved **ret, size_t *n,
		    struct err *e)
{
	const struct json *j = parse(a, text, where, e);
	if (!j)
		return -1;
	if (j->type != JSON_ARRAY || j->n == 0 || j->n > IMAGE_MANIFESTS_MAX)
		return bad(j, where, "it is no list of images as 'docker save' writes it", e);
	*n = j->n;
	*ret = arena_array(a, struct oci_saved, j->n);
	for (size_t i = 0; i < j->n; i++) {
		struct oci_saved *s = &(*ret)[i];
		if (j->item[i].type != JSON_OBJECT)
			return bad(&j->item[i], where, "it is no list of images as 'docker save' writes it", e);
		if (json_get_str(&j->item[i], "Config", &s->config, e) < 0 ||
		    strings(&j->item[i], "Layers", where, a, &s->layers, &s->n_layers, e) < 0 ||
		    strings(&j->item[i], "RepoTags", where, a, &s->tags, &s->n_tags, e) < 0)
			return -1;
		if (s->n_layers > IMAGE_LAYERS_MAX)
			return err_new(e, ERR_LIMIT, "'%s' is refused: the image has %zu layers, more than %d", where,
				       s->n_layers, IMAGE_LAYERS_MAX);
	}
	return 0;
}

/* == platforms ===================================================================================================== */

static struct str arch_of_machine(const char *machine)
{
	static const char *const names[][2] = {
		{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"i686", "386"},	   {"i386", "386"},
		{"armv7l", "arm"},   {"armv6l", "arm"},	   {"ppc64le", "ppc64le"}, {"loongarch64", "loong64"},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(machine, names[i][0]) == 0)
			return str_c(names[i][1]);
	return str_c(machine);
}

int oci_platform(struct str text, struct arena *a, struct image_config *ret, struct err *e)
{
	struct utsname u;
	*ret = (struct image_config){0};
	if (text.n == 0) {
		if (uname(&u) < 0)
			return err_sys(e, "uname");
		ret->os = STR("linux");
		ret->arch = arena_str(a, arch_of_machine(u.machine));
		return 0;
	}
	struct str rest = arena_str(a, text);
	if (!str_take_until(&rest, '/', &ret->os))
		return err_new(e, ERR_USAGE, "platform '%.*s': expected OS/ARCHITECTURE[/VARIANT], as linux/arm64",
			       STR_ARG(text));
	if (!str_take_until(&rest, '/', &ret->arch)) {
		ret->arch = rest;
		rest = STR_NONE;
	}
	ret->variant = rest;
	return ret->os.n && ret->arch.n
		       ? 0
		       : err_new(e, ERR_USAGE, "platform '%.*s': expected OS/ARCHITECTURE[/VARIANT], as linux/arm64",
				 STR_ARG(text));
}

/* What says nothing fits. */
static bool fits(struct str said, struct str want)
{
	return said.n == 0 || want.n == 0 || str_eq(said, want);
}

static bool fits_platform(const struct oci_descriptor *d, const struct image_config *p)
{
	return !d->attestation && fits(d->os, p->os) && fits(d->arch, p->arch) && fits(d->variant, p->variant);
}

/* A tag alone, or the name that it ends. */
static bool fits_tag(const struct oci_descriptor *d, struct str tag)
{
	struct str name = d->image_name;
	if (tag.n == 0 || str_eq(d->ref_name, tag) || str_eq(name, tag))
		return true;
	return (str_ends(name, tag) && name.p[name.n - tag.n - 1] == ':') ||
	       (str_ends(d->ref_name, tag) && d->ref_name.p[d->ref_name.n - tag.n - 1] == ':');
}

static void put_candidates(const struct oci_document *d, struct buf *b)
{
	for (size_t i = 0; i < d->n_manifests && i < 20; i++) {
		const struct oci_descriptor *m = &d->manifests[i];
		struct str name = m->image_name.n ? m->image_name : m->ref_name;
		if (m->attestation)
			continue;
		buf_printf(b, "%s%s", b->n ? ", " : "", name.n ? tar_shown(name).s : "");
		buf_printf(b, "%s%.19s", name.n ? " " : "", tar_shown(m->digest).s);
		if (m->arch.n)
			buf_printf(b, " for %.*s/%.*s%s%.*s", STR_ARG(m->os), STR_ARG(m->arch), m->variant.n ? "/" : "",
				   STR_ARG(m->variant));
	}
}

int oci_choose(const struct oci_document *d, const char *where, struct str tag, const struct image_config *platform,
	       const struct oci_descriptor **ret, struct err *e)
{
	const struct oci_descriptor *best = NULL;
	bool others = false, other_tags = false;
	for (size_t i = 0; i < d->n_manifests; i++) {
		const struct oci_descriptor *m = &d->manifests[i];
		if (!fits_tag(m, tag) || !fits_platform(m, platform))
			continue;
		/* of those for one platform, the more general one: "arm64" before "arm64/v8", which is the same */
		if (best && !str_eq(best->ref_name, m->ref_name))
			other_tags = true;
		else if (best && best->arch.n == 0 && !str_eq(best->digest, m->digest))
			others = true;
		if (!best || (best->variant.n && m->variant.n == 0))
			best = m;
	}
	auto_buf b = BUF_INIT(ERR_MSG_SIZE / 2);
	put_candidates(d, &b);
	*ret = best;
	if (!best)
		return err_new(
			e, ERR_NOT_FOUND,
			"'%s' has no image%s%.*s for %.*s/%.*s%s%.*s; it has: %s (--tag and --platform say which)",
			where, tag.n ? " " : "", STR_ARG(tag), STR_ARG(platform->os), STR_ARG(platform->arch),
			platform->variant.n ? "/" : "", STR_ARG(platform->variant), b.n ? b.p : "none at all");
	if (others || other_tags)
		return err_new(e, ERR_USAGE, "'%s' holds several images: %s; say which one with --tag", where, b.p);
	return 0;
}
