// SPDX-License-Identifier: Apache-2.0
/* Imports of which several go on at once, and of what changes meanwhile. */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "image/internal.h"

#include "lib/test.h"

enum { LAYERS = 6 };
static struct err e;
static struct arena a;
static char root[128], source[128];

static int to_buf(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	buf_put(ctx, p, n);
	return 0;
}

static void put_file(struct tar_writer *w, const char *path, struct str text)
{
	struct tar_entry en = {.path = str_c(path), .mode = 0644, .size = text.n};
	CHECK(tar_put(w, &en, &e) == 0 && tar_write(w, text.p, text.n, &e) == 0);
}

static void write_source(const struct buf *b)
{
	snprintf(source, sizeof(source), "%s/source.tar", test_tmp());
	CHECK_MSG(fs_replace(AT_FDCWD, source, b->p, b->n, 0, &e) == 0, "%s", e.msg);
}

/* An archive as `docker save` makes them. */
static void make_image(void)
{
	auto_buf image = BUF_INIT(1 << 20), config = BUF_INIT(1 << 16), manifest = BUF_INIT(1 << 16),
		 files = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &image}, rest = {.sink = to_buf, .ctx = &files};
	buf_put_c(&config, "{\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	buf_put_c(&manifest, "[{\"Config\":\"config.json\",\"RepoTags\":[\"several\"],\"Layers\":[");
	for (int i = 0; i < LAYERS; i++) {
		auto_buf layer = BUF_INIT(1 << 16);
		struct tar_writer in = {.sink = to_buf, .ctx = &layer};
		uint8_t sum[SHA256_SIZE];
		char name[32];
		snprintf(name, sizeof(name), "file%d", i);
		put_file(&in, name, STR("content"));
		CHECK(tar_end(&in, &e) == 0);
		sha256(layer.p, layer.n, sum);
		buf_printf(&config, "%s\"sha256:", i ? "," : "");
		buf_put_hex(&config, sum, sizeof(sum));
		buf_put_char(&config, '"');
		snprintf(name, sizeof(name), "layer%d.tar", i);
		buf_printf(&manifest, "%s\"%s\"", i ? "," : "", name);
		put_file(&rest, name, buf_str(&layer));
	}
	buf_put_c(&config, "]}}");
	buf_put_c(&manifest, "]}]");
	put_file(&w, "manifest.json", buf_str(&manifest)); /* what comes first tells what it is */
	put_file(&w, "config.json", buf_str(&config));
	buf_put_str(&image, buf_str(&files));
	CHECK(tar_end(&w, &e) == 0);
	write_source(&image);
}

static struct layers *open_layers(void)
{
	struct layers *l;
	struct sandbox_can can;
	sandbox_probe(&can);
	if (!can.run)
		SKIP("kernel: no sandbox: %.100s", can.why);
	snprintf(root, sizeof(root), "%s/build", test_tmp());
	CHECK_MSG(layers_open(root, LAYER_COPY, &l, &e) == 0, "%s", e.msg);
	return l;
}

static int import(struct progress *p)
{
	struct layers *l = open_layers();
	struct image img;
	struct image_import o = {.path = source, .name = STR("x"), .progress = p};
	int rc = image_import(l, &o, &a, &img, &e);
	layers_close(l);
	return rc;
}

/* Tells that it has begun, and takes its time. */
static void slowly(struct progress *p, const struct progress_event *ev)
{
	int *told = p->ctx;
	if (ev->kind != PROGRESS_BEGIN)
		return;
	CHECK(write(*told, "x", 1) == 1);
	(void)poll(NULL, 0, 150);
}

TEST(two_at_once)
{
	int fds[2];
	char c;
	make_image();
	layers_close(open_layers());
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	pid_t first = fork();
	if (first == 0) {
		struct progress p = {slowly, &fds[1]};
		_exit(import(&p) < 0);
	}
	int status;
	CHECK(first > 0 && read(fds[0], &c, 1) == 1);
	CHECK_MSG(import(NULL) == 0, "%s", e.msg);
	CHECK(waitpid(first, &status, 0) == first && status == 0);
	arena_release(&a);
}

static void make_tar(void)
{
	auto_buf b = BUF_INIT(1 << 16);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	put_file(&w, "file", STR("content"));
	CHECK(tar_end(&w, &e) == 0);
	write_source(&b);
}

static void change(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	if (ev->kind != PROGRESS_BEGIN)
		return;
	auto_fd fd = open(source, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && pwrite(fd, "CHANGED", 7, TAR_BLOCK) == 7);
}

/* The id of the layer is the sum of what was there before. */
TEST(a_tar_that_changes)
{
	struct progress p = {change, NULL};
	make_tar();
	CHECK_INT(import(&p), -1);
	CHECK_INT(e.code, ERR_BUSY);
	e = ERR_INIT;
	CHECK_MSG(import(NULL) == 0, "%s", e.msg);
	arena_release(&a);
}

/* The layer that is done goes at once: so does what gc takes before it has a name. */
static void remove_done(struct progress *p, const struct progress_event *ev)
{
	int *times = p->ctx;
	struct layer_info *v;
	size_t n;
	if (ev->kind != PROGRESS_DONE || (*times)-- <= 0)
		return;
	struct layers *l = open_layers();
	CHECK(layers_list(l, &a, &v, &n, &e) == 0 && n == 1);
	CHECK_MSG(layer_remove(l, &v[0].id, &e) == 0, "%s", e.msg);
	layers_close(l);
}

TEST(a_layer_that_is_lost_is_made_again)
{
	int times = 2;
	struct image img;
	struct progress p = {remove_done, &times};
	make_tar();
	CHECK_MSG(import(&p) == 0, "%s", e.msg);
	CHECK_INT(times, -1);
	struct layers *l = open_layers();
	CHECK_MSG(image_find(l, STR("x"), &a, &img, &e) == 0, "%s", e.msg);
	CHECK(image_remove(l, STR("x"), false, &(struct image_removal){0}, &e) == 0);
	layers_close(l);
	times = 1000;
	CHECK_INT(import(&p), -1);
	CHECK_INT(e.code, ERR_BUSY);
	arena_release(&a);
}

/* While an import waits for others to give their names, gc leaves its layers alone; and it does not make others wait for its disk. */
TEST(what_gets_a_name_is_held)
{
	int status;
	struct layer_gc r;
	struct pollfd none = {.fd = -1};
	make_tar();
	struct layers *l = open_layers();
	auto_fd dir = fs_open_dir_make(layers_dirfd(l), "image", &e);
	auto_fd lock = fs_lock(dir, ".lock", 0, &e);
	CHECK(dir >= 0 && lock >= 0);
	pid_t child = fork();
	if (child == 0) {
		cleanup_fd(&lock);
		CHECK_MSG(import(NULL) == 0, "%s", e.msg);
		_exit(0);
	}
	struct layer_gc_opts o = {.now_ms = INT64_MAX / 2, .older_than_ms = -1, .max_bytes = UINT64_MAX};
	for (int i = 0; i < 100; i++) {
		CHECK(layers_gc(l, &o, &a, &r, &e) == 0);
		auto_fs_list marks = {0};
		CHECK(fs_list(layers_dirfd(l), "unsynced", 100, &marks, &e) == 0);
		if (r.kept && marks.n == 0) /* synced, though it cannot have the lock */
			break;
		(void)poll(&none, 1, 20);
	}
	CHECK_INT(r.kept, 1);
	o.max_bytes = 0;
	CHECK(layers_gc(l, &o, &a, &r, &e) == 0);
	CHECK_INT(r.n, 0);
	CHECK_INT(waitpid(child, &status, WNOHANG), 0);
	cleanup_fd(&lock);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	layers_close(l);
	arena_release(&a);
}

/* A dry run, or the removal of one of two names, is no use of a layer: gc goes by that. */
TEST(removing_is_no_use)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct image img;
	struct image_removal removal;
	struct layer_info *v;
	size_t n;
	make_image();
	CHECK_MSG(import(NULL) == 0, "%s", e.msg);
	struct layers *l = open_layers();
	CHECK(image_find(l, STR("x"), &a, &img, &e) == 0);
	img.name = STR("y");
	CHECK_MSG(image_name(l, &img, &a, &e) == 0, "%s", e.msg);
	const char *about = arena_printf(&a, "%s/layer/%s/about", root, img.layer.hex);
	CHECK(utimensat(AT_FDCWD, about, old, 0) == 0);
	CHECK(image_remove(l, STR("x"), true, &removal, &e) == 0 && removal.layers_stay == LAYERS);
	CHECK(image_remove(l, STR("y"), false, &removal, &e) == 0 && removal.layers_stay == LAYERS);
	CHECK(layers_list(l, &a, &v, &n, &e) == 0 && n == LAYERS);
	CHECK_INT(v[0].used_ms, 1000000);
	CHECK(image_remove(l, STR("x"), false, &removal, &e) == 0);
	CHECK_INT(removal.layers, LAYERS);
	CHECK(layers_list(l, &a, &v, &n, &e) == 0 && n == 0);
	layers_close(l);
	arena_release(&a);
}
