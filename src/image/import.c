// SPDX-License-Identifier: Apache-2.0
/*
 * An import: what the source is, which layers that means, those that are missing made one on top of the other, and a name at the end.
 *
 * The id of a layer is SHA-256 over what it is made of: the version of this way of unpacking, whether the user's ids can be given, and either
 * OCI's chain id (which says all that lies below, too) or the SHA-256 of a tar. So images share layers, and one that is imported again is
 * there already; in which steps layers are unpacked does not matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "image/internal.h"

enum { WAIT_MS = 3600000, ATTEMPTS = 3, NESTING_MAX = 4 };
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* One layer of the image, as it comes. */
struct plan_layer {
	const char *what; /* "layer 2 of 'x.tar' (sha256:abcdef…)" */
	struct str member;
	bool has_blob, is_layer;
	uint8_t blob[SHA256_SIZE], diff[SHA256_SIZE];
	bool has_diff;
	uint64_t size; /* as the manifest says; with has_blob */
	struct layer_id id;
};
struct plan {
	struct layers *l;
	const struct image_import *o;
	struct arena *a;
	struct source *s;
	struct plan_layer *layers;
	size_t n;
	struct stat tar; /* of a tar, when its sum was made: that is what its layer is called after */
	bool flat;	 /* this user has one id alone */
	int hold;	 /* of the topmost layer; -1 */
	struct image *img;
	VEC(struct str) digests;
	struct str name; /* that the source gives itself */
};

static void plan_release(struct plan *p)
{
	vec_release(&p->digests);
	cleanup_fd(&p->hold);
}

/* == ids =========================================================================================================== */

static struct layer_id id_of(const struct plan *p, const char *kind, const uint8_t sum[SHA256_SIZE])
{
	struct layer_id id;
	uint8_t out[SHA256_SIZE];
	auto_buf b = BUF_INIT(512);
	buf_printf(&b, "slipway image layer 1\nids %s\n%s ", p->flat ? "one" : "all", kind);
	buf_put_hex(&b, sum, SHA256_SIZE);
	buf_put_char(&b, '\n');
	sha256(b.p, b.n, out);
	hex_encode(out, SHA256_SIZE, id.hex);
	return id;
}

/* OCI's ChainID. */
static void chain_on(uint8_t chain[SHA256_SIZE], const uint8_t diff[SHA256_SIZE])
{
	auto_buf b = BUF_INIT(512);
	buf_put_c(&b, "sha256:");
	buf_put_hex(&b, chain, SHA256_SIZE);
	buf_put_c(&b, " sha256:");
	buf_put_hex(&b, diff, SHA256_SIZE);
	sha256(b.p, b.n, chain);
}

/* == layers ======================================================================================================== */

/* A tar whose sum is not checked again while it is unpacked. */
static int check_unchanged(const struct plan *p, struct err *e)
{
	struct stat st;
	if (fstat(p->s->fd, &st) < 0)
		return err_sys(e, "stat '%s'", p->s->what);
	if (st.st_size == p->tar.st_size && st.st_mtim.tv_sec == p->tar.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == p->tar.st_mtim.tv_nsec)
		return 0;
	return err_new(e, ERR_BUSY, "'%s' changed while it was read; do it again when nobody writes there", p->s->what);
}

static void tell(const struct plan *p, const struct plan_layer *pl, enum progress_kind kind, const char *text)
{
	uint64_t total = pl->member.n ? pl->size : (uint64_t)p->tar.st_size;
	progress_send(p->o->progress, (struct progress_event){.kind = kind,
							      .phase = "unpack",
							      .id = pl->what,
							      .text = text,
							      .done = kind == PROGRESS_DONE ? total : 0,
							      .total = total});
}

static int unpack_one(struct plan *p, struct layer_work *w, size_t i, struct err *e)
{
	struct plan_layer *pl = &p->layers[i];
	struct unpack u = {.what = pl->what, .is_layer = pl->is_layer, .limits = UNPACK_LIMITS};
	struct unpack_result result;
	auto_part part = {.fd = -1};
	u.blob = pl->has_blob ? pl->blob : NULL;
	u.diff = pl->has_diff ? pl->diff : NULL;
	if (pl->member.n) {
		if (source_part(p->s, pl->member, &part, e) < 0)
			return err_ctx(e, "%s", pl->what);
		if (pl->has_blob && part.size != pl->size)
			return err_new(e, ERR_VERIFY,
				       "%s is damaged: it has %llu bytes, and its manifest says %llu; fetch it again",
				       pl->what, (unsigned long long)part.size, (unsigned long long)pl->size);
		u.part = part;
	} else {
		u.part = (struct part){.fd = p->s->fd, .size = (uint64_t)p->tar.st_size};
	}
	pl->size = u.part.size;
	tell(p, pl, PROGRESS_BEGIN, NULL);
	if (unpack_into(layer_work_root(w), &u, &result, e) < 0 || (!pl->member.n && check_unchanged(p, e) < 0)) {
		tell(p, pl, PROGRESS_FAILED, e->msg);
		return -1;
	}
	if (result.devices) {
		auto_free char *note = xasprintf("%s: %llu device%s left out; a sandbox has its own", pl->what,
						 (unsigned long long)result.devices, result.devices == 1 ? "" : "s");
		tell(p, pl, PROGRESS_NOTE, note);
	}
	return 0;
}

/* The parent is gone; another process was at this very layer, and is not any more; it is there. */
enum made { REMOVED, WAITED, MADE };

/* Layers first to last of the source as one of ours. An enum made. */
static int make_layer(struct plan *p, size_t first, size_t last, const struct layer_id *parent, struct err *e)
{
	const struct plan_layer *pl = &p->layers[last];
	struct err why = ERR_INIT;
	auto_ptr(layer_work) w = NULL;
	if (layer_begin(p->l, &pl->id, parent, &w, &why) < 0) {
		if (why.code == ERR_EXISTS)
			return MADE;
		if (why.code == ERR_BUSY)
			return layer_wait(p->l, &pl->id, WAIT_MS, e) < 0 ? -1 : WAITED;
		*e = why;
		return why.code == ERR_NOT_FOUND ? REMOVED : -1;
	}
	for (size_t i = first; i <= last; i++)
		if (unpack_one(p, w, i, e) < 0)
			return -1;
	const char *about = arena_printf(p->a, "(from %s)\n%s", p->img->name.p, pl->what);
	if (layer_work_commit(steal_ptr(&w), str_c(about), e) < 0) {
		tell(p, pl, PROGRESS_FAILED, e->msg);
		return -1;
	}
	for (size_t i = first; i <= last; i++)
		tell(p, &p->layers[i], PROGRESS_DONE, NULL);
	return MADE;
}

/* How many of the source's layers are there already, from the lowest on. */
static int layers_there(struct plan *p, size_t *ret, struct err *e)
{
	struct layer_info info;
	for (*ret = p->n; *ret > 0; (*ret)--) {
		int got = layer_find(p->l, &p->layers[*ret - 1].id, p->a, &info, e);
		if (got != 0)
			return got < 0 ? -1 : 0;
	}
	return 0;
}

/* 1 all are there, 0 something was removed meanwhile. */
static int make_layers(struct plan *p, struct err *e)
{
	size_t at;
	if (layers_there(p, &at, e) < 0)
		return -1;
	while (at < p->n) {
		size_t last = p->n - at > IMAGE_LAYERS_APART ? p->n - IMAGE_LAYERS_APART : at;
		int got = make_layer(p, at, last, at ? &p->layers[at - 1].id : NULL, e);
		if (got < 0 || got == REMOVED)
			return got < 0 ? -1 : 0;
		if (got == MADE)
			at = last + 1;
		else if (layers_there(p, &at, e) < 0)
			return -1;
	}
	return 1;
}

/* All layers, and a hold of the topmost, without which gc may take them before they have their name. */
static int make_all(struct plan *p, struct err *e)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		struct err why = ERR_INIT;
		int got = make_layers(p, e);
		if (got < 0)
			return -1;
		if (got > 0 && (p->hold = layer_keep(p->l, &p->layers[p->n - 1].id, &why)) >= 0)
			return 0;
		if (got > 0 && why.code != ERR_NOT_FOUND)
			return *e = why, -1;
	}
	return err_new(e, ERR_BUSY,
		       "layers of image '%s' are removed while they are made; is 'slipway build gc' running?",
		       p->img->name.p);
}

/* == sources ======================================================================================================= */

static int plan_tar(struct plan *p, struct err *e)
{
	uint8_t sum[SHA256_SIZE];
	if (fstat(p->s->fd, &p->tar) < 0)
		return err_sys(e, "stat '%s'", p->s->what);
	if (sha256_fd(p->s->fd, sum, e) < 0)
		return err_ctx(e, "'%s'", p->s->what);
	p->n = 1;
	p->layers = arena_array(p->a, struct plan_layer, 1);
	p->layers[0].what = arena_printf(p->a, "'%s'", p->s->what);
	p->layers[0].id = id_of(p, "tar", sum);
	vec_push(&p->digests, image_digest_str(sum, p->a));
	return oci_platform(p->o->platform, p->a, &p->img->config, e);
}

static int to_fd(void *ctx, const void *p, size_t n, struct err *e)
{
	return fs_write_all(*(int *)ctx, p, n, "temporary file", e);
}

/* A folder becomes a tar without a name, and that is unpacked. */
static int plan_folder(struct plan *p, struct err *e)
{
	auto_fd spool = spool_open(layers_dirfd(p->l), e);
	struct tar_writer w = {.sink = to_fd, .ctx = &spool};
	struct pack_tree o = {.epoch_s = -1, .one_owner = geteuid() != 0, .one_device = true, .what = p->s->what};
	if (spool < 0 || pack_tree(p->s->fd, &o, &w, e) < 0 || tar_end(&w, e) < 0)
		return -1;
	close(p->s->fd);
	p->s->fd = steal_fd(&spool);
	return plan_tar(p, e);
}

static struct str blob_path(struct plan *p, struct str digest)
{
	return str_c(arena_printf(p->a, "blobs/sha256/%.*s", (int)digest.n - 7, digest.p + 7));
}

static int check_media_type(const struct plan *p, struct str type, struct err *e)
{
	if (type.n == 0 || (str_search(type, STR("tar")) >= 0 && str_search(type, STR("encrypted")) < 0))
		return 0;
	return err_new(e, ERR_UNSUPPORTED,
		       "'%s' holds no image of a root file system that can be read: a layer is '%s'", p->s->what,
		       tar_shown(type).s);
}

/* The plain part of a plan from its configuration: diff_ids and what to unpack for each. */
static int plan_layers(struct plan *p, const struct oci_config *c, size_t n, struct err *e)
{
	uint8_t chain[SHA256_SIZE];
	if (n != c->n_diff_ids || n == 0)
		return err_new(e, ERR_INPUT, "'%s' is refused: the image has %zu layers, and its configuration %zu",
			       p->s->what, n, c->n_diff_ids);
	p->n = n;
	p->layers = arena_array(p->a, struct plan_layer, n);
	for (size_t i = 0; i < n; i++) {
		struct plan_layer *pl = &p->layers[i];
		memcpy(pl->diff, c->diff_ids[i], SHA256_SIZE);
		pl->has_diff = pl->is_layer = true;
		if (i == 0)
			memcpy(chain, pl->diff, SHA256_SIZE);
		else
			chain_on(chain, pl->diff);
		pl->id = id_of(p, "oci chain", chain);
		pl->what = arena_printf(p->a, "layer %zu of %zu of '%s'", i + 1, n, p->s->what);
	}
	return 0;
}

static int check_platform(struct plan *p, const struct image_config *want, const struct image_config *is, struct err *e)
{
	if (is->os.n && is->arch.n && (!str_eq(is->os, want->os) || !str_eq(is->arch, want->arch)))
		return err_new(
			e, ERR_UNSUPPORTED,
			"'%s' is for %.*s/%.*s, and %s is %.*s/%.*s; --platform %.*s/%.*s takes it in spite of that",
			p->s->what, STR_ARG(is->os), STR_ARG(is->arch),
			p->o->platform.n ? "what is wanted" : "this machine", STR_ARG(want->os), STR_ARG(want->arch),
			STR_ARG(is->os), STR_ARG(is->arch));
	return 0;
}

/* A document of a layout by its descriptor. */
static int read_blob(struct plan *p, const struct oci_descriptor *d, struct str *ret, struct err *e)
{
	const char *digest = arena_strdup(p->a, d->digest);
	if (source_read(p->s, blob_path(p, d->digest), digest, p->a, ret, e) < 0)
		return -1;
	if (ret->n != d->size)
		return err_new(e, ERR_VERIFY, "'%s' is damaged: %.19s… has %zu bytes, not %llu; fetch or make it again",
			       p->s->what, digest, ret->n, (unsigned long long)d->size);
	if (p->digests.n < IMAGE_DIGESTS_MAX)
		vec_push(&p->digests, str_c(digest));
	return 0;
}

/* The name that an index gives an image; a tag alone goes behind the name of the file. */
static struct str name_in_index(struct plan *p, const struct oci_descriptor *d)
{
	struct str name = d->image_name.n ? d->image_name : d->ref_name;
	if (name.n == 0 || str_find(name, ':') >= 0 || str_find(name, '/') >= 0)
		return name;
	struct str path = str_trim(str_c(p->s->what));
	while (path.n > 1 && path.p[path.n - 1] == '/')
		path.n--;
	path = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	if (str_ends(path, STR(".tar")))
		path.n -= 4;
	return str_c(arena_printf(p->a, "%.*s:%.*s", STR_ARG(path), STR_ARG(name)));
}

static int plan_oci(struct plan *p, struct err *e)
{
	struct image_config platform;
	struct oci_document d;
	struct oci_config c;
	struct str text, tag = p->o->tag;
	const struct oci_descriptor *m;
	const char *where = arena_printf(p->a, "index.json of %s", p->s->what);
	if (oci_platform(p->o->platform, p->a, &platform, e) < 0 ||
	    source_read(p->s, STR("index.json"), NULL, p->a, &text, e) < 0 ||
	    oci_parse_document(text, where, p->a, &d, e) < 0)
		return -1;
	if (d.kind != OCI_INDEX)
		return err_new(e, ERR_INPUT, "'%s' is no index", where);
	for (int i = 0; d.kind == OCI_INDEX; i++) {
		if (i == NESTING_MAX)
			return err_new(e, ERR_LIMIT, "'%s' is refused: more than %d indexes lie in each other",
				       p->s->what, NESTING_MAX);
		if (oci_choose(&d, where, tag, &platform, &m, e) < 0)
			return -1;
		if (i == 0)
			p->name = name_in_index(p, m);
		tag = STR_NONE;
		where = arena_printf(p->a, "%.19s… of %s", m->digest.p, p->s->what);
		if (read_blob(p, m, &text, e) < 0 || oci_parse_document(text, where, p->a, &d, e) < 0)
			return -1;
	}
	where = arena_printf(p->a, "%.19s… of %s", d.config.digest.p, p->s->what);
	if (read_blob(p, &d.config, &text, e) < 0 || oci_parse_config(text, where, p->a, &c, e) < 0 ||
	    check_platform(p, &platform, &c.config, e) < 0 || plan_layers(p, &c, d.n_layers, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++) {
		if (check_media_type(p, d.layers[i].media_type, e) < 0)
			return -1;
		p->layers[i].member = blob_path(p, d.layers[i].digest);
		p->layers[i].has_blob = image_digest_parse(d.layers[i].digest, p->layers[i].blob);
		p->layers[i].size = d.layers[i].size;
	}
	p->img->config = c.config;
	return 0;
}

/* The image of an archive of `docker save` that is meant. */
static int choose_saved(struct plan *p, const struct oci_saved *v, size_t n, const struct oci_saved **ret,
			struct err *e)
{
	auto_buf names = BUF_INIT(ERR_MSG_SIZE / 2);
	*ret = NULL;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i].n_tags; k++) {
			struct str tag = v[i].tags[k];
			ptrdiff_t colon = str_rfind(tag, ':');
			buf_printf(&names, "%s%s", names.n ? ", " : "", tar_shown(tag).s);
			if (p->o->tag.n && !*ret &&
			    (str_eq(tag, p->o->tag) || str_eq(str_skip(tag, (size_t)(colon + 1)), p->o->tag))) {
				*ret = &v[i];
				p->name = tag;
			}
		}
	if (p->o->tag.n == 0 && n == 1) {
		*ret = &v[0];
		p->name = v[0].n_tags ? v[0].tags[0] : STR_NONE;
	}
	if (*ret)
		return 0;
	return p->o->tag.n ? err_new(e, ERR_NOT_FOUND, "'%s' has no image '%.*s'; it has: %s", p->s->what,
				     STR_ARG(p->o->tag), names.n ? names.p : "none with a name")
			   : err_new(e, ERR_USAGE, "'%s' holds %zu images: %s; say which one with --tag", p->s->what, n,
				     names.p);
}

/* The name of the configuration says its digest: "HEX.json", or "blobs/sha256/HEX". */
static int check_saved_config(struct plan *p, struct str file, struct str text, struct err *e)
{
	uint8_t sum[SHA256_SIZE], want[SHA256_SIZE];
	struct str hex = str_skip(file, (size_t)(str_rfind(file, '/') + 1));
	sha256(text.p, text.n, sum);
	if (str_ends(hex, STR(".json")))
		hex.n -= 5;
	if (str_unhex(hex, want, SHA256_SIZE) && memcmp(sum, want, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%s' is damaged: '%s' has another SHA-256; fetch or make it again",
			       p->s->what, tar_shown(file).s);
	vec_push(&p->digests, image_digest_str(sum, p->a));
	return 0;
}

static int plan_saved(struct plan *p, struct err *e)
{
	struct image_config platform;
	struct oci_saved *all;
	const struct oci_saved *chosen;
	struct oci_config c;
	struct str text;
	size_t n;
	const char *where = arena_printf(p->a, "manifest.json of %s", p->s->what);
	if (oci_platform(p->o->platform, p->a, &platform, e) < 0 ||
	    source_read(p->s, STR("manifest.json"), NULL, p->a, &text, e) < 0 ||
	    oci_parse_saved(text, where, p->a, &all, &n, e) < 0 || choose_saved(p, all, n, &chosen, e) < 0 ||
	    source_read(p->s, chosen->config, NULL, p->a, &text, e) < 0 ||
	    check_saved_config(p, chosen->config, text, e) < 0)
		return -1;
	where = arena_printf(p->a, "%s of %s", tar_shown(chosen->config).s, p->s->what);
	if (oci_parse_config(text, where, p->a, &c, e) < 0 || check_platform(p, &platform, &c.config, e) < 0 ||
	    plan_layers(p, &c, chosen->n_layers, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++)
		p->layers[i].member = chosen->layers[i];
	p->img->config = c.config;
	return 0;
}

/* == the whole ===================================================================================================== */

/* "dir/rootfs.tar.gz" → "rootfs" */
static struct str name_of_file(const char *path)
{
	static const char *const endings[] = {".gz", ".xz", ".zst", ".bz2", ".tgz", ".tar"};
	struct str name = str_c(path);
	while (name.n > 1 && name.p[name.n - 1] == '/')
		name.n--;
	name = str_skip(name, (size_t)(str_rfind(name, '/') + 1));
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (str_ends(name, str_c(endings[i])) && name.n > strlen(endings[i]))
			name.n -= strlen(endings[i]);
	return name;
}

static int choose_name(struct plan *p, struct err *e)
{
	struct str name = p->o->name.n ? p->o->name : p->name;
	struct image_ref ref;
	if (name.n == 0 && p->o->debian_suite)
		name = str_c(arena_printf(p->a, "debian-%s", p->o->debian_suite));
	if (name.n == 0 && strcmp(p->o->path, "-") == 0)
		return err_new(e, ERR_USAGE, "what comes from standard input has no name: say it before the '-'");
	if (name.n == 0)
		name = name_of_file(p->o->path);
	if (image_ref_parse(name, p->a, &ref, e) < 0)
		return p->o->name.n
			       ? -1
			       : err_ctx(e,
					 "the image cannot keep the name it came with; say another one before the file");
	if (ref.digest.n && p->o->name.n == 0)
		ref.digest = STR_NONE; /* it came with the name, and is verified as what it is */
	if (ref.name.n == 0)
		return err_new(e, ERR_USAGE, "an image needs a name beside its digest");
	for (size_t i = 0; ref.digest.n && i <= p->digests.n; i++) {
		if (i == p->digests.n)
			return err_new(e, ERR_VERIFY, "'%s' is %s, not %s", p->s->what, p->digests.v[0].p,
				       ref.digest.p);
		if (str_eq(p->digests.v[i], ref.digest))
			break;
	}
	p->img->name = ref.name;
	return 0;
}

/* A variable of that name in v takes the new value, or it is added. */
static void set_env(struct str *v, size_t *n, struct str word)
{
	struct str name = str_head(word, (size_t)(str_find(word, '=') + 1));
	for (size_t i = 0; i < *n; i++)
		if (str_starts(v[i], name)) {
			v[i] = word;
			return;
		}
	v[(*n)++] = word;
}

static int choose_env(struct plan *p, struct err *e)
{
	struct image_config *c = &p->img->config;
	size_t n_more = 0, n = 0;
	for (; p->o->env && p->o->env[n_more]; n_more++)
		if (p->o->env[n_more][0] == '=' || strchr(p->o->env[n_more], '=') == NULL)
			return err_new(e, ERR_USAGE, "--env '%s': expected NAME=VALUE", p->o->env[n_more]);
	struct str *v = arena_array(p->a, struct str, c->n_env + n_more + 1);
	bool has_path = false;
	for (size_t i = 0; i < c->n_env; i++) {
		has_path = has_path || str_starts(c->env[i], STR("PATH="));
		v[n++] = c->env[i];
	}
	if (!has_path)
		v[n++] = STR(DEFAULT_PATH);
	for (size_t i = 0; i < n_more; i++)
		set_env(v, &n, arena_str(p->a, str_c(p->o->env[i])));
	c->env = v;
	c->n_env = n;
	return 0;
}

static int make_plan(struct plan *p, struct err *e)
{
	switch (p->s->kind) {
	case SOURCE_TAR:
		return plan_tar(p, e);
	case SOURCE_FOLDER:
		return plan_folder(p, e);
	case SOURCE_OCI:
		return plan_oci(p, e);
	case SOURCE_SAVED:
		return plan_saved(p, e);
	}
	return -1;
}

static int open_source(const struct image_import *o, struct layers *l, struct source *s, struct err *e)
{
	if (!o->debian_suite)
		return source_open(s, o->path, layers_dirfd(l), e);
	*s = (struct source){.kind = SOURCE_TAR, .fd = -1};
	s->what = arena_printf(&s->a, "Debian %s", o->debian_suite);
	s->fd = spool_open(layers_dirfd(l), e);
	return s->fd < 0 ? -1 : debian_make(o, s->fd, e);
}

int image_import(struct layers *l, const struct image_import *o, struct arena *a, struct image *ret, struct err *e)
{
	struct sandbox_can can;
	*ret = (struct image){0};
	cleanup_with(source_release) struct source s = {.fd = -1};
	cleanup_with(plan_release) struct plan p = {.l = l, .o = o, .a = a, .s = &s, .img = ret, .hold = -1};
	if (o->debian_suite && o->dry_run) {
		ret->source = str_c(arena_printf(a, "Debian %s", o->debian_suite));
		return choose_name(&p, e);
	}
	sandbox_probe(&can);
	if (!can.run)
		return err_new(e, ERR_UNSUPPORTED, "an image cannot be unpacked here: %.*s",
			       (int)strcspn(can.why, "\n"), can.why);
	if (open_source(o, l, &s, e) < 0)
		return -1;
	p.flat = !can.id_range;
	if (p.flat)
		progress_send(o->progress,
			      (struct progress_event){
				      .kind = PROGRESS_NOTE,
				      .phase = "unpack",
				      .id = s.what,
				      .text = "this user has one id: everything in the image belongs to root; "
					      "ranges in /etc/subuid and /etc/subgid give more"});
	if (make_plan(&p, e) < 0 || choose_name(&p, e) < 0 || choose_env(&p, e) < 0 ||
	    (!o->dry_run && make_all(&p, e) < 0))
		return -1;
	ret->layer = p.layers[p.n - 1].id;
	ret->digests = vec_copy(&p.digests, a);
	ret->n_digests = p.digests.n;
	ret->source = str_c(arena_printf(a, "%s", s.what));
	ret->layers = (uint32_t)p.n;
	return o->dry_run ? 0 : image_name(l, ret, a, e);
}
