// SPDX-License-Identifier: Apache-2.0
/*
 * A layer given out: its whole tree as one tar, or as an OCI image of one layer in an archive. The tree is read inside the root, where
 * owners are right for whoever runs this.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/fs.h"
#include "base/json.h"
#include "image/internal.h"

enum { GZIP_LEVEL = 6, JSON_MAX = 1 << 20, PIECE = 1 << 17 };
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER "application/vnd.oci.image.layer.v1.tar+gzip"

struct exported {
	uint8_t diff[SHA256_SIZE], blob[SHA256_SIZE];
	uint64_t size;
};
/* Set up before the child is: no library is loaded from inside the root. */
struct exporting {
	struct pack_tree o;
	int fd;
	struct digest *diff, *blob; /* of an OCI layer */
	struct compress *gzip;
	struct exported *ret; /* shared */
};

static void exporting_release(struct exporting *x)
{
	digest_free(x->diff);
	digest_free(x->blob);
	compress_free(x->gzip);
	if (x->ret)
		munmap(x->ret, sizeof(*x->ret));
}

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
	struct exporting *x = ctx;
	if (x->blob)
		digest_update(x->blob, p, n);
	x->ret->size += n;
	return fs_write_all(x->fd, p, n, "the output", e);
}

static int to_gzip(void *ctx, const void *p, size_t n, struct err *e)
{
	struct exporting *x = ctx;
	digest_update(x->diff, p, n);
	return compress_put(x->gzip, p, n, e);
}

static int export_inside(void *ctx, struct err *e)
{
	struct exporting *x = ctx;
	struct tar_writer w = {.sink = x->gzip ? to_gzip : to_file, .ctx = x};
	auto_fd root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "open the root of %s", x->o.what);
	if (pack_tree(root, &x->o, &w, e) < 0 || tar_end(&w, e) < 0)
		return -1;
	if (!x->gzip)
		return 0;
	if (compress_end(x->gzip, e) < 0)
		return -1;
	digest_final(x->diff, x->ret->diff);
	digest_final(x->blob, x->ret->blob);
	return 0;
}

static int export_tree(struct layers *l, const struct layer_id *id, const struct image_export *o, bool oci, int fd,
		       struct exported *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_fd hold = -1;
	struct sandbox_opts so = SANDBOX_OPTS_INIT;
	cleanup_with(exporting_release) struct exporting x = {.fd = fd};
	x.o = (struct pack_tree){.epoch_s = o->epoch_s, .what = arena_printf(&a, "%.12s…", id->hex)};
	if (layer_hold(l, id, &a, &so.root, &hold, e) < 0)
		return -1;
	void *shared = mmap(NULL, sizeof(*x.ret), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_sys(e, "map memory");
	x.ret = shared;
	if (oci) {
		x.diff = digest_new(DIGEST_SHA256);
		x.blob = digest_new(DIGEST_SHA256);
		x.gzip = compress_new(COMPRESS_GZIP, GZIP_LEVEL, to_file, &x);
	}
	if (sandbox_call(&so, &x.fd, 1, export_inside, &x, e) < 0)
		return -1;
	*ret = *x.ret;
	return 0;
}

/* == the documents of an image ===================================================================================== */

struct blob {
	struct buf text;
	uint8_t sha256[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
};

static void blob_seal(struct blob *b)
{
	sha256(b->text.p, b->text.n, b->sha256);
	hex_encode(b->sha256, SHA256_SIZE, b->hex);
}

static void put_words(struct jw *w, const char *key, const struct str *v, size_t n)
{
	if (n)
		jw_kv_list(w, key, v, n);
}

static void put_digest(struct jw *w, const char *key, const uint8_t sum[SHA256_SIZE])
{
	char text[8 + SHA256_HEX_SIZE] = "sha256:";
	hex_encode(sum, SHA256_SIZE, text + 7);
	if (key)
		jw_kv_c(w, key, text);
	else
		jw_c(w, text);
}

static void put_config(struct buf *b, const struct image_export *o, const struct image_config *c,
		       const struct exported *x)
{
	struct jw w = JW_INIT(b, 0);
	auto_buf when = BUF_INIT(64);
	jw_object(&w);
	if (o->epoch_s >= 0) {
		clock_put_iso(&when, o->epoch_s * 1000);
		jw_kv_str(&w, "created", buf_str(&when));
	}
	jw_kv_str(&w, "architecture", c->arch);
	jw_kv_opt(&w, "variant", c->variant);
	jw_kv_str(&w, "os", c->os.n ? c->os : STR("linux"));
	jw_key(&w, "config");
	jw_object(&w);
	jw_kv_opt(&w, "User", c->user);
	put_words(&w, "Env", c->env, c->n_env);
	put_words(&w, "Entrypoint", c->entrypoint, c->n_entrypoint);
	put_words(&w, "Cmd", c->cmd, c->n_cmd);
	jw_kv_opt(&w, "WorkingDir", c->workdir);
	jw_object_end(&w);
	jw_key(&w, "rootfs");
	jw_object(&w);
	jw_kv_c(&w, "type", "layers");
	jw_key(&w, "diff_ids");
	jw_array(&w);
	put_digest(&w, NULL, x->diff);
	jw_array_end(&w);
	jw_object_end(&w);
	jw_object_end(&w);
}

static void put_descriptor(struct jw *w, const char *type, const uint8_t sum[SHA256_SIZE], uint64_t size)
{
	jw_kv_c(w, "mediaType", type);
	put_digest(w, "digest", sum);
	jw_kv_int(w, "size", (int64_t)size);
}

static void put_manifest(struct buf *b, const struct blob *config, const struct exported *x)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_kv_int(&w, "schemaVersion", 2);
	jw_kv_c(&w, "mediaType", TYPE_MANIFEST);
	jw_key(&w, "config");
	jw_object(&w);
	put_descriptor(&w, TYPE_CONFIG, config->sha256, config->text.n);
	jw_object_end(&w);
	jw_key(&w, "layers");
	jw_array(&w);
	jw_object(&w);
	put_descriptor(&w, TYPE_LAYER, x->blob, x->size);
	jw_object_end(&w);
	jw_array_end(&w);
	jw_object_end(&w);
}

/* "debian:12" → "docker.io/library/debian:12": containerd and Docker know names whole. */
static void put_whole_name(struct buf *b, struct str name)
{
	ptrdiff_t slash = str_find(name, '/');
	struct str first = str_head(name, slash < 0 ? 0 : (size_t)slash);
	bool host = str_find(first, '.') >= 0 || str_find(first, ':') >= 0 || str_eq(first, STR("localhost"));
	buf_put_c(b, host ? "" : slash < 0 ? "docker.io/library/" : "docker.io/");
	buf_put_str(b, name);
	if (str_rfind(name, ':') <= str_rfind(name, '/'))
		buf_put_c(b, ":latest");
}

static void put_index(struct buf *b, const struct blob *manifest, struct str name, const struct image_config *c)
{
	struct jw w = JW_INIT(b, 0);
	auto_buf whole = BUF_INIT(IMAGE_NAME_MAX * 2);
	jw_object(&w);
	jw_kv_int(&w, "schemaVersion", 2);
	jw_kv_c(&w, "mediaType", "application/vnd.oci.image.index.v1+json");
	jw_key(&w, "manifests");
	jw_array(&w);
	jw_object(&w);
	put_descriptor(&w, TYPE_MANIFEST, manifest->sha256, manifest->text.n);
	jw_key(&w, "platform");
	jw_object(&w);
	jw_kv_str(&w, "architecture", c->arch);
	jw_kv_str(&w, "os", c->os.n ? c->os : STR("linux"));
	jw_kv_opt(&w, "variant", c->variant);
	jw_object_end(&w);
	if (name.n) {
		put_whole_name(&whole, name);
		struct str all = buf_str(&whole);
		jw_key(&w, "annotations");
		jw_object(&w);
		jw_kv_str(&w, "io.containerd.image.name", all);
		jw_kv_str(&w, "org.opencontainers.image.ref.name", str_skip(all, (size_t)(str_rfind(all, ':') + 1)));
		jw_object_end(&w);
	}
	jw_object_end(&w);
	jw_array_end(&w);
	jw_object_end(&w);
}

/* == the archive =================================================================================================== */

static int to_out(void *ctx, const void *p, size_t n, struct err *e)
{
	return fs_write_all(*(int *)ctx, p, n, "the output", e);
}

static int put_folder(struct tar_writer *w, const char *path, int64_t time_s, struct err *e)
{
	return tar_put(w, &(struct tar_entry){.kind = TAR_DIR, .path = str_c(path), .mode = 0755, .mtime_s = time_s},
		       e);
}

static int put_text(struct tar_writer *w, const char *path, struct str text, int64_t time_s, struct err *e)
{
	struct tar_entry en = {.path = str_c(path), .mode = 0644, .size = text.n, .mtime_s = time_s};
	return tar_put(w, &en, e) < 0 ? -1 : tar_write(w, text.p, text.n, e);
}

static int put_spool(struct tar_writer *w, const char *path, int spool, uint64_t size, int64_t time_s, struct err *e)
{
	struct tar_entry en = {.path = str_c(path), .mode = 0644, .size = size, .mtime_s = time_s};
	auto_free char *piece = xmalloc(PIECE);
	if (tar_put(w, &en, e) < 0)
		return -1;
	for (uint64_t at = 0; at < size;) {
		ssize_t n = pread(spool, piece, PIECE, (off_t)at);
		if (n <= 0)
			return n < 0 ? err_sys(e, "read the layer back")
				     : err_new(e, ERR_FAILED, "the layer is shorter than it was");
		if (tar_write(w, piece, (size_t)n, e) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static void blobs_release(struct blob (*b)[3])
{
	for (size_t i = 0; i < 3; i++)
		buf_release(&(*b)[i].text);
}

static int compare_blobs(const void *a, const void *b)
{
	return strcmp(((const struct blob *)a)->hex, ((const struct blob *)b)->hex);
}

static int export_oci(struct layers *l, const struct layer_id *id, const struct image_export *o, int fd, struct err *e)
{
	enum { LAYER, CONFIG, MANIFEST, BLOBS };
	auto_arena a = ARENA_INIT;
	struct exported x;
	struct image_config c, here;
	cleanup_with(blobs_release) struct blob b[BLOBS];
	for (size_t i = 0; i < BLOBS; i++)
		b[i] = (struct blob){.text = BUF_INIT(JSON_MAX)};
	auto_fd spool = spool_open(layers_dirfd(l), e);
	if (spool < 0 || export_tree(l, id, o, true, spool, &x, e) < 0 || oci_platform(STR_NONE, &a, &here, e) < 0)
		return -1;
	c = o->image ? o->image->config : here;
	if (c.arch.n == 0)
		c.arch = here.arch;
	put_config(&b[CONFIG].text, o, &c, &x);
	blob_seal(&b[CONFIG]);
	put_manifest(&b[MANIFEST].text, &b[CONFIG], &x);
	blob_seal(&b[MANIFEST]);
	hex_encode(x.blob, SHA256_SIZE, b[LAYER].hex);
	auto_buf index = BUF_INIT(JSON_MAX);
	put_index(&index, &b[MANIFEST], o->image ? o->image->name : STR_NONE, &c);
	if (b[CONFIG].text.overflow || index.overflow)
		return err_new(e, ERR_LIMIT, "the configuration of the image takes more than %d bytes", JSON_MAX);
	int64_t time_s = o->epoch_s > 0 ? o->epoch_s : 0;
	struct tar_writer w = {.sink = to_out, .ctx = &fd};
	if (put_folder(&w, "blobs/", time_s, e) < 0 || put_folder(&w, "blobs/sha256/", time_s, e) < 0)
		return -1;
	qsort(b, BLOBS, sizeof(b[0]), compare_blobs);
	for (size_t i = 0; i < BLOBS; i++) {
		const char *path = arena_printf(&a, "blobs/sha256/%s", b[i].hex);
		if ((b[i].text.n ? put_text(&w, path, buf_str(&b[i].text), time_s, e)
				 : put_spool(&w, path, spool, x.size, time_s, e)) < 0)
			return -1;
	}
	if (put_text(&w, "index.json", buf_str(&index), time_s, e) < 0 ||
	    put_text(&w, "oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), time_s, e) < 0)
		return -1;
	return tar_end(&w, e);
}

int image_export(struct layers *l, const struct layer_id *id, const struct image_export *o, int fd, struct err *e)
{
	struct exported x;
	return o->format == IMAGE_OCI ? export_oci(l, id, o, fd, e) : export_tree(l, id, o, false, fd, &x, e);
}
