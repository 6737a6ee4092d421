// SPDX-License-Identifier: Apache-2.0
/* A repository over transfer: what its folder holds is what is taken, and nothing that it lost or that others put there. */
#include "lib/test.h"
#include "lib/tuf.h"
#include "repo/repo.h"

static struct transfer *engine(void)
{
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct transfer *t = NULL;
	struct err e = ERR_INIT;
	CHECK_MSG(transfer_new(&o, &t, &e) == 0, "%s", e.msg);
	return t;
}

static struct repo *opened(struct world *w, struct transfer *t)
{
	auto_free char *metadata = xasprintf("file://%s/%d/metadata", test_tmp(), world_number);
	auto_free char *targets = xasprintf("file://%s/%d/targets/", test_tmp(), world_number);
	struct repo_opts o = REPO_OPTS_INIT;
	struct repo *r = NULL;
	struct err e = ERR_INIT;
	o.transfer = t, o.dir_fd = w->trusted_fd, o.clock = &w->clock.base;
	o.metadata_url = metadata, o.targets_url = targets, o.label = "channel 'x'";
	CHECK_MSG(repo_open(&o, &r, &e) == 0, "%s", e.msg);
	return r;
}

/* The target "d/a" with that content, and what its repository serves under its name. */
static void put(struct world *w, const char *content, const char *served)
{
	char hex[SHA256_HEX_SIZE];
	struct err e = ERR_INIT;
	struct tuf_file f = world_file("d/a", content);
	auto_fd dir = world_dir("targets/d");
	world_publish(w, "d/a", content);
	hex_encode(f.sha256, sizeof(f.sha256), hex);
	auto_free char *name = xasprintf("%s.a", hex);
	CHECK_MSG(fs_replace(dir, name, served, strlen(served), 0, &e) == 0, "%s", e.msg);
}

TEST(reads_what_was_signed)
{
	struct world w = world_new();
	auto_ptr(transfer) t = engine();
	auto_buf b = BUF_INIT(100), small = BUF_INIT(3);
	struct err e = ERR_INIT;
	put(&w, "content", "content");
	auto_ptr(repo) r = opened(&w, t);
	CHECK_MSG(repo_refresh(r, &e) == 0, "%s", e.msg);
	CHECK_INT(repo_state(r).targets, 2);
	CHECK_MSG(repo_read(r, STR("d/a"), &b, &e) == 1, "%s", e.msg);
	CHECK_STR(b.p, "content");
	CHECK_INT(repo_read(r, STR("d/b"), &b, &e), 0);
	CHECK_INT(repo_read(r, STR("d/a"), &small, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(other_bytes_are_refused)
{
	struct world w = world_new();
	auto_ptr(transfer) t = engine();
	auto_buf b = BUF_INIT(100);
	struct err e = ERR_INIT;
	put(&w, "content", "contend");
	auto_ptr(repo) r = opened(&w, t);
	CHECK_MSG(repo_refresh(r, &e) == 0, "%s", e.msg);
	CHECK_INT(repo_read(r, STR("d/a"), &b, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_INT(b.n, 0);
	CHECK_MSG(strstr(e.msg, "channel 'x': 'd/a'"), "%s", e.msg);
}

TEST(without_metadata_it_is_refused_and_says_whose_turn_it_is)
{
	struct world w = world_new();
	auto_ptr(transfer) t = engine();
	struct err e = ERR_INIT;
	CHECK(unlinkat(w.repo_fd, "timestamp.json", 0) == 0);
	auto_ptr(repo) r = opened(&w, t);
	CHECK_INT(repo_refresh(r, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "nothing unsigned is taken"), "%s", e.msg);
	CHECK_MSG(strstr(e.msg, "timestamp.json"), "%s", e.msg);
}

TEST(without_an_engine_nothing_is_asked)
{
	struct world w = world_new();
	struct err e = ERR_INIT;
	auto_ptr(repo) r = opened(&w, NULL);
	CHECK_INT(repo_refresh(r, &e), -1);
	CHECK_INT(e.code, ERR_NETWORK);
	CHECK_INT(repo_state(r).root, 1);
}

struct came {
	char names[200];
};

static void came(void *ctx, const char *name, struct str bytes)
{
	struct came *c = ctx;
	size_t n = strlen(c->names);
	CHECK(bytes.n > 0);
	snprintf(c->names + n, sizeof(c->names) - n, "%s ", name);
}

TEST(tells_what_came_and_asks_as_it_is_told)
{
	struct world w = world_new();
	struct came c = {""};
	struct repo_opts o = REPO_OPTS_INIT;
	struct repo *r = NULL;
	struct err e = ERR_INIT;
	o.dir_fd = w.trusted_fd, o.clock = &w.clock.base;
	o.fetch = world_fetch, o.fetch_ctx = &w;
	o.came = came, o.came_ctx = &c;
	CHECK_MSG(repo_open(&o, &r, &e) == 0, "%s", e.msg);
	CHECK_MSG(repo_refresh(r, &e) == 0, "%s", e.msg);
	CHECK_STR(c.names, "timestamp.json 1.snapshot.json 1.targets.json ");
	repo_free(r);
}
