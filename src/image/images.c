// SPDX-License-Identifier: Apache-2.0
/* The images that are here: DIR/image/, a file each. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "image/internal.h"

enum { FORMAT = 1, FILE_MAX_BYTES = 1 << 20, IMAGES_MAX = 100000, LOCK_WAIT_MS = 60000, NEAR = 3 };

static const char *path_of(struct str file, struct arena *a)
{
	return arena_printf(a, "image/%s", file.p);
}

/* == one file ====================================================================================================== */

static void put_strs(struct jw *w, const char *key, const struct str *v, size_t n)
{
	if (n)
		jw_kv_list(w, key, v, n);
}

static void put_image(struct buf *b, const struct image *img)
{
	struct jw w = JW_INIT(b, 2);
	const struct image_config *c = &img->config;
	jw_object(&w);
	jw_kv_int(&w, "format", FORMAT);
	jw_kv_str(&w, "name", img->name);
	jw_kv_c(&w, "layer", img->layer.hex);
	jw_kv_int(&w, "layers", img->layers);
	jw_kv_int(&w, "bytes", (int64_t)img->bytes);
	jw_kv_list(&w, "digests", img->digests, img->n_digests);
	jw_kv_str(&w, "source", img->source);
	jw_kv_int(&w, "imported_ms", img->imported_ms);
	put_strs(&w, "env", c->env, c->n_env);
	jw_kv_opt(&w, "user", c->user);
	jw_kv_opt(&w, "workdir", c->workdir);
	put_strs(&w, "entrypoint", c->entrypoint, c->n_entrypoint);
	put_strs(&w, "cmd", c->cmd, c->n_cmd);
	jw_kv_opt(&w, "os", c->os);
	jw_kv_opt(&w, "arch", c->arch);
	jw_kv_opt(&w, "variant", c->variant);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static int get_strs(const struct json *j, const char *key, struct arena *a, const struct str **ret, size_t *n,
		    struct err *e)
{
	const struct json *list;
	if (json_opt_array(j, key, &list, e) < 0)
		return -1;
	*n = list ? list->n : 0;
	struct str *v = arena_array(a, struct str, *n);
	for (size_t i = 0; i < *n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "%s: '%s' holds something else than strings", j->where, key);
		v[i] = list->item[i].string;
	}
	*ret = v;
	return 0;
}

static int get_image(struct str text, const char *where, struct arena *a, struct image *ret, struct err *e)
{
	int64_t format = 0, layers = 0, bytes = 0;
	struct str layer;
	struct image_config *c = &ret->config;
	*ret = (struct image){0};
	const struct json *j = json_parse(a, text, where, e);
	if (!j || json_get_int(j, "format", &format, e) < 0)
		return -1;
	if (format != FORMAT)
		return err_new(e, ERR_UNSUPPORTED, "'%s' has format %lld, not %d; import the image again", where,
			       (long long)format, FORMAT);
	if (json_get_str(j, "name", &ret->name, e) < 0 || json_get_str(j, "layer", &layer, e) < 0 ||
	    json_opt_int(j, "layers", &layers, e) < 0 || json_opt_int(j, "bytes", &bytes, e) < 0 ||
	    json_opt_int(j, "imported_ms", &ret->imported_ms, e) < 0 ||
	    json_opt_str(j, "source", &ret->source, e) < 0 || json_opt_str(j, "user", &c->user, e) < 0 ||
	    json_opt_str(j, "workdir", &c->workdir, e) < 0 || json_opt_str(j, "os", &c->os, e) < 0 ||
	    json_opt_str(j, "arch", &c->arch, e) < 0 || json_opt_str(j, "variant", &c->variant, e) < 0 ||
	    get_strs(j, "digests", a, &ret->digests, &ret->n_digests, e) < 0 ||
	    get_strs(j, "env", a, &c->env, &c->n_env, e) < 0 ||
	    get_strs(j, "entrypoint", a, &c->entrypoint, &c->n_entrypoint, e) < 0 ||
	    get_strs(j, "cmd", a, &c->cmd, &c->n_cmd, e) < 0)
		return -1;
	ret->layers = (uint32_t)layers;
	ret->bytes = (uint64_t)bytes;
	return layer_id_parse(layer, &ret->layer) ? 0 : err_new(e, ERR_INPUT, "%s: 'layer' is no id", where);
}

/* 1, or 0 where there is none. */
static int read_image(struct layers *l, struct str file, struct arena *a, struct image *ret, struct err *e)
{
	struct err first = ERR_INIT;
	auto_buf b = BUF_INIT(FILE_MAX_BYTES);
	const char *path = path_of(file, a);
	if (fs_read(layers_dirfd(l), path, &b, &first) < 0) {
		if (first.code == ERR_NOT_FOUND)
			return 0;
		*e = first;
		return -1;
	}
	return get_image(arena_str(a, buf_str(&b)), path, a, ret, e) < 0
		       ? err_ctx(e, "'%s/%s' (remove it, and import the image again)", layers_path(l), path)
		       : 1;
}

/* == all of them =================================================================================================== */

static int read_all(struct layers *l, struct arena *a, struct image **ret, size_t *n, struct err *e)
{
	auto_fs_list files = {0};
	struct err first = ERR_INIT;
	*ret = NULL;
	*n = 0;
	if (fs_list(layers_dirfd(l), "image", IMAGES_MAX, &files, &first) < 0) {
		if (first.code == ERR_NOT_FOUND)
			return 0;
		*e = first;
		return -1;
	}
	*ret = arena_array(a, struct image, files.n);
	for (size_t i = 0; i < files.n; i++) {
		if (image_name_of(str_c(files.name[i]), a).p == NULL)
			continue;
		int got = read_image(l, str_c(files.name[i]), a, &(*ret)[*n], e);
		if (got < 0)
			return -1;
		*n += got == 1; /* it may just have been removed */
	}
	return 0;
}

int images_list(struct layers *l, struct arena *a, struct image **ret, size_t *n, struct err *e)
{
	struct layer_info *all;
	size_t n_layers;
	auto_map there = MAP_INIT;
	if (read_all(l, a, ret, n, e) < 0 || layers_list(l, a, &all, &n_layers, e) < 0)
		return -1;
	for (size_t i = 0; i < n_layers; i++)
		*map_put(&there, str_c(all[i].id.hex)) = 1;
	for (size_t i = 0; i < *n; i++)
		if (!map_get(&there, str_c((*ret)[i].layer.hex)))
			(*ret)[i].layers = 0;
	return 0;
}

int image_layers(struct layers *l, struct arena *a, const struct layer_id **ret, size_t *n, struct err *e)
{
	struct image *all;
	if (read_all(l, a, &all, n, e) < 0)
		return -1;
	struct layer_id *v = arena_array(a, struct layer_id, *n + 1);
	for (size_t i = 0; i < *n; i++)
		v[i] = all[i].layer;
	*ret = v;
	return 0;
}

static bool has_digest(const struct image *img, struct str digest)
{
	for (size_t i = 0; i < img->n_digests; i++)
		if (str_eq(img->digests[i], digest))
			return true;
	return false;
}

/* == found ========================================================================================================= */

/* The name that a person may have meant: like it, or the same but for the tag. */
static const struct image *nearest(struct str name, const struct image *v, size_t n)
{
	const struct image *best = NULL;
	unsigned least = name.n < 6 ? 2 : NEAR;
	ptrdiff_t colon = str_rfind(name, ':');
	struct str plain = str_head(name, colon < 0 ? name.n : (size_t)colon);
	for (size_t i = 0; i < n; i++) {
		unsigned d = str_distance(name, v[i].name);
		ptrdiff_t other = str_rfind(v[i].name, ':');
		if (str_eq(plain, str_head(v[i].name, other < 0 ? v[i].name.n : (size_t)other)))
			d = d < least ? d : least;
		if (d <= least && (!best || d < str_distance(name, best->name)))
			best = &v[i];
	}
	return best;
}

/* What skopeo calls it: with a digest there is no tag. */
static const char *remote_name(const struct image_ref *ref, struct arena *a)
{
	struct str name = ref->name.n ? ref->name : STR("NAME");
	ptrdiff_t colon = str_rfind(name, ':');
	if (ref->digest.n && colon > str_rfind(name, '/'))
		name.n = (size_t)colon;
	return arena_printf(a, "%.*s%s%s", STR_ARG(name), ref->digest.n ? "@" : "", ref->digest.n ? ref->digest.p : "");
}

static int not_found(struct layers *l, const struct image_ref *ref, struct str asked, struct arena *a, struct err *e)
{
	struct image *all;
	size_t n;
	if (read_all(l, a, &all, &n, e) < 0)
		return -1;
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	const struct image *near = nearest(ref->name, all, n);
	if (near && ref->digest.n == 0)
		buf_printf(&b, "; there is '%s'", near->name.p);
	else if (n == 0)
		buf_put_c(&b, "; there are no images yet");
	return err_new(
		e, ERR_NOT_FOUND,
		"no image '%s' here%s; 'slipway image import %s FILE' takes an OCI layout, an archive of an image or a "
		"root file system, and 'skopeo copy %sdocker://%s oci:FOLDER' brings one from a registry",
		tar_shown(asked).s, b.p, ref->name.n ? ref->name.p : "NAME", ref->digest.n ? "--all " : "",
		remote_name(ref, a));
}

/* 1 with the image of that digest, whatever its name. */
static int find_digest(struct layers *l, struct str digest, struct arena *a, struct image *ret, struct err *e)
{
	struct image *all;
	size_t n;
	if (read_all(l, a, &all, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (has_digest(&all[i], digest)) {
			*ret = all[i];
			return 1;
		}
	return 0;
}

/* 1 with the entry of the name or digest; the layer may be gone. */
static int find_entry(struct layers *l, const struct image_ref *ref, struct arena *a, struct image *ret, struct err *e)
{
	struct image other;
	int got = ref->name.n ? read_image(l, image_file_of(ref->name, a), a, ret, e) : 0;
	if (got < 0 || ref->digest.n == 0 || (got == 1 && has_digest(ret, ref->digest)))
		return got;
	int by_digest = find_digest(l, ref->digest, a, &other, e);
	if (by_digest == 0 && got == 1)
		return err_new(
			e, ERR_VERIFY,
			"image '%s' is here as %s, not as %s; 'skopeo copy --all docker://%s oci:FOLDER' and 'slipway "
			"image import FOLDER' bring the one that is asked for",
			ref->name.p, ret->n_digests ? ret->digests[0].p : "something without a digest", ref->digest.p,
			remote_name(ref, a));
	if (by_digest == 1)
		*ret = other;
	return by_digest;
}

int image_find(struct layers *l, struct str name, struct arena *a, struct image *ret, struct err *e)
{
	struct image_ref ref;
	struct layer_info info;
	if (image_ref_parse(name, a, &ref, e) < 0)
		return -1;
	int got = find_entry(l, &ref, a, ret, e);
	if (got <= 0)
		return got < 0 ? -1 : not_found(l, &ref, name, a, e);
	got = layer_find(l, &ret->layer, a, &info, e);
	if (got == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "image '%s' has lost its layer %.12s…; import it again (it came from %s)", ret->name.p,
			       ret->layer.hex, ret->source.n ? ret->source.p : "a build");
	return got < 0 ? -1 : 0;
}

/* == written ======================================================================================================= */

/* What killed processes left beside the files. Under the lock: nobody else writes there. */
static int clean(int dir, struct err *e)
{
	auto_fs_list files = {0};
	if (fs_list(dir, ".", IMAGES_MAX, &files, e) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++)
		if (files.name[i][0] == '.' && str_ends(str_c(files.name[i]), STR(".tmp")) &&
		    sys_unlinkat(dir, files.name[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s'", files.name[i]);
	return 0;
}

/* The folder, locked for changes until both are closed. */
static int hold_folder(struct layers *l, int *ret_lock, struct err *e)
{
	auto_fd dir = fs_open_dir_make(layers_dirfd(l), "image", e);
	if (dir < 0)
		return -1;
	auto_fd lock = fs_lock(dir, ".lock", LOCK_WAIT_MS, e);
	if (lock < 0 || clean(dir, e) < 0)
		return err_ctx(e, "images of '%s'", layers_path(l));
	*ret_lock = steal_fd(&lock);
	return steal_fd(&dir);
}

static int count_layers(struct layers *l, struct image *img, struct arena *a, struct err *e)
{
	struct layer_id id = img->layer;
	img->bytes = 0;
	img->layers = 0;
	while (id.hex[0]) {
		struct layer_info info;
		int got = layer_find(l, &id, a, &info, e);
		if (got <= 0)
			return got < 0 ? -1
				       : err_new(e, ERR_INPUT,
						 "layer %.12s… below it is gone; 'slipway build gc' clears what is "
						 "left of it, then make it again",
						 id.hex);
		img->bytes += info.bytes;
		img->layers++;
		id = info.parent;
	}
	return 0;
}

static int parse_name(struct str name, struct arena *a, struct image_ref *ret, struct err *e)
{
	if (image_ref_parse(name, a, ret, e) < 0)
		return -1;
	if (ret->name.n == 0 || ret->digest.n)
		return err_new(e, ERR_USAGE, "the name of an image has no digest: '%s'", tar_shown(name).s);
	return 0;
}

int image_check_name(struct str name, struct arena *a, struct err *e)
{
	struct image_ref ref;
	return parse_name(name, a, &ref, e);
}

static int write_name(struct layers *l, const struct image *img, struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX_BYTES);
	put_image(&b, img);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "what is known of image '%s' takes more than %d bytes", img->name.p,
			       FILE_MAX_BYTES);
	auto_fd lock = -1;
	auto_fd dir = hold_folder(l, &lock, e);
	/* gc that has seen no such name must not go on when the hold is given up */
	if (dir < 0 || layers_pause(l, e) < 0)
		return -1;
	int rc = fs_replace(dir, image_file_of(img->name, a).p, b.p, b.n, FS_REPLACE_SYNC, e);
	layers_go_on(l);
	return rc;
}

int image_name(struct layers *l, struct image *img, struct arena *a, struct err *e)
{
	struct image_ref ref;
	if (parse_name(img->name, a, &ref, e) < 0)
		return -1;
	img->name = ref.name;
	img->imported_ms = clock_wall_ms();
	/* Held, the layers that are synced are the ones that get the name. Names are written under a lock: what takes long comes before it. */
	auto_fd hold = layer_keep(l, &img->layer, e);
	if (hold < 0 || layers_sync(l, e) < 0 || count_layers(l, img, a, e) < 0 || write_name(l, img, a, e) < 0)
		return err_ctx(e, "name '%s'", img->name.p);
	return 0;
}

/* == removed ======================================================================================================= */

static bool is_needed(const struct layer_info *all, size_t n, const struct layer_id *id, const struct image *images,
		      size_t n_images, const struct map *gone)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(all[i].parent.hex, id->hex) == 0 && !map_get(gone, str_c(all[i].id.hex)))
			return true;
	for (size_t i = 0; i < n_images; i++)
		if (strcmp(images[i].layer.hex, id->hex) == 0)
			return true;
	return false;
}

/* Looked up without marking it as used. */
static const struct layer_info *info_of(const struct layer_id *id, const struct layer_info *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(all[i].id.hex, id->hex) == 0)
			return &all[i];
	return NULL;
}

/* From the topmost layer down, as far as nobody else needs them. */
static int remove_layers(struct layers *l, const struct image *img, const struct image *images, size_t n_images,
			 bool dry_run, struct arena *a, struct image_removal *ret, struct err *e)
{
	struct layer_info *all;
	const struct layer_info *info;
	size_t n;
	auto_map gone = MAP_INIT;
	struct err busy = ERR_INIT;
	bool stays = false;
	if (layers_list(l, a, &all, &n, e) < 0)
		return -1;
	for (struct layer_id id = img->layer; id.hex[0] && (info = info_of(&id, all, n)); id = info->parent) {
		stays = stays || is_needed(all, n, &id, images, n_images, &gone);
		/* the name is gone in any case: what cannot be removed now is gc's */
		if (!stays && !dry_run && layer_remove(l, &id, &busy) < 0)
			stays = true;
		ret->layers_stay += stays;
		ret->layers += !stays;
		ret->bytes += stays ? 0 : info->bytes;
		if (!stays)
			*map_put(&gone, arena_str(a, str_c(id.hex))) = 1;
	}
	return 0;
}

int image_remove(struct layers *l, struct str name, bool dry_run, struct image_removal *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct image_ref ref;
	struct image img, *all;
	size_t n, others = 0;
	*ret = (struct image_removal){0};
	if (image_ref_parse(name, &a, &ref, e) < 0)
		return -1;
	auto_fd lock = -1;
	auto_fd dir = dry_run ? -1 : hold_folder(l, &lock, e);
	int got = dir < 0 && !dry_run ? -1 : find_entry(l, &ref, &a, &img, e);
	if (got <= 0)
		return got < 0 ? -1
			       : err_new(e, ERR_NOT_FOUND, "no image '%s' here; 'slipway image list' lists them",
					 tar_shown(name).s);
	if (read_all(l, &a, &all, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!str_eq(all[i].name, img.name))
			all[others++] = all[i];
	/* the name first: what is left without one is freed like any layer that nobody uses */
	const char *file = image_file_of(img.name, &a).p;
	if (!dry_run && sys_unlinkat(dir, file, 0) < 0)
		return err_sys(e, "remove '%s/image/%s'", layers_path(l), file);
	if (!dry_run && fs_sync_dir(dir, ".", e) < 0) {
		e->code = ERR_UNCERTAIN;
		return err_ctx(e, "image '%s' is removed, but perhaps not on disk", img.name.p);
	}
	return remove_layers(l, &img, all, others, dry_run, &a, ret, e);
}
