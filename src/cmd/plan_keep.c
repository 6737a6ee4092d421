// SPDX-License-Identifier: Apache-2.0
/*
 * plan sign, publish: the operator's side. A repository of plans is a folder: metadata/ (`slipway tuf create`), targets/ and plans/, the latter
 * as the operator reads them. The keys lie elsewhere; what is published is metadata/ and targets/.
 */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "cmd/channel_sync.h"
#include "cmd/plan.h"
#include "cmd/tuf.h"

enum {
	KEYS_MAX = 16,
	HOSTS_MAX = 100000,
	HOSTS_BYTES = 16 << 20,
	META_MAX = 32 << 20,
	PLAN_MAX = 256 << 20,
	FILES_MAX = 1 << 20
};
#define TRUST ".slipway/plan"

/* -- for whom ----------------------------------------------------------------------------------------------------------- */

VEC_TYPE(names, struct str);

static int add_host(struct names *v, struct str name, struct err *e)
{
	bool good = name.n > 0 && name.n <= 100 && name.p[0] != '.';
	for (size_t i = 0; i < name.n; i++)
		good &= isalnum((unsigned char)name.p[i]) || memchr("._-", name.p[i], 3) != NULL;
	if (!good)
		return err_new(e, ERR_USAGE, "'%.*s' is no name of a host, as 'slipway mirror clients' lists them",
			       STR_ARG(name));
	vec_foreach(have, v)
		if (str_eq(*have, name))
			return 0;
	if (v->n == HOSTS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d hosts at once", HOSTS_MAX);
	vec_push(v, name);
	return 0;
}

/* One name a line; '#' begins a comment. */
static int read_hosts(struct cmd_context *c, const char *path, struct names *v, struct err *e)
{
	auto_buf b = BUF_INIT(HOSTS_BYTES);
	struct str line, text;
	if (fs_read_any(AT_FDCWD, path, &b, e) < 0)
		return -1;
	text = arena_str(&c->arena, buf_str(&b));
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (line.n && line.p[0] != '#' && add_host(v, line, e) < 0)
			return err_ctx(e, "'%s'", path);
	}
	return 0;
}

static int gather_hosts(struct cmd_context *c, const struct plan_args *a, struct names *v, struct err *e)
{
	vec_foreach(h, &a->host)
		if (add_host(v, str_c(*h), e) < 0)
			return -1;
	if (a->hosts_file && read_hosts(c, a->hosts_file, v, e) < 0)
		return -1;
	return v->n ? 0
		    : err_new(e, ERR_USAGE,
			      "a plan for which hosts? say --host NAME, as often as there are, or --hosts FILE with one a line");
}

/* -- what ------------------------------------------------------------------------------------------------------------------ */

/* The lock as it is signed: exact, each package by its SHA-256, no credentials. */
static int read_lock(struct cmd_context *c, const struct plan_args *a, struct env_plan *ret, struct err *e)
{
	struct env_spec_file f = {0};
	const char *path = a->words.v[1];
	if (cmd_read_spec_file(c, path, &f, e) < 0)
		return -1;
	if (!f.is_lock || f.is_url_list)
		return err_new(
			e, ERR_INPUT,
			"'%s' names no exact packages, and a plan does; 'slipway env export' prints such a recipe",
			path);
	for (uint32_t i = 0; i < f.packages_n; i++)
		if (!f.packages[i].record.has_sha256)
			return err_new(e, ERR_INPUT, "'%s': package '%.*s' has no SHA-256", path,
				       STR_ARG(f.packages[i].record.name));
	if (a->name)
		f.name = str_c(a->name);
	if (!f.name.n)
		return err_new(e, ERR_USAGE, "a plan for which environment? name it with -n NAME");
	return env_name_check(f.name, e) < 0 ? -1 : env_plan(&f, NULL, NULL, &c->arena, ret, e);
}

/* -- signing ------------------------------------------------------------------------------------------------------------------ */

struct signing {
	struct cmd_context *c;
	int dir, keys[KEYS_MAX], metadata;
	size_t keys_n;
	struct tuf_keeper *keeper;
};

static void signing_release(struct signing *s)
{
	tuf_keeper_free(s->keeper);
	for (size_t i = 0; i < s->keys_n; i++)
		cleanup_fd(&s->keys[i]);
	cleanup_fd(&s->metadata);
	cleanup_fd(&s->dir);
}
#define auto_signing cleanup_with(signing_release) struct signing

static int open_signing(struct signing *s, const struct plan_args *a, struct err *e)
{
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	const char *dir = a->words.v[0];
	if (!a->keys.n)
		return err_new(e, ERR_USAGE, "which keys? say it with --keys DIR: the folder of the private keys");
	s->dir = fs_open_dir(AT_FDCWD, dir, e);
	s->metadata = s->dir < 0 ? -1 : fs_open_dir(s->dir, "metadata", e);
	if (s->metadata < 0)
		return err_ctx(e,
			       "no repository of plans in '%s'; 'slipway tuf create %s/metadata --keys DIR' makes one",
			       dir, dir);
	for (size_t i = 0; i < a->keys.n && i < KEYS_MAX; i++) {
		int fd = fs_open_dir(AT_FDCWD, a->keys.v[i], e);
		if (fd < 0)
			return err_ctx(e, "--keys '%s'", a->keys.v[i]);
		s->keys[s->keys_n++] = fd;
	}
	o.dir_fd = s->metadata;
	o.keys_fd = s->keys, o.keys_n = s->keys_n;
	o.dry_run = s->c->dry_run;
	return tuf_keeper_open(&o, &s->keeper, e) < 0 ? err_ctx(e, "repository '%s/metadata'", dir) : 0;
}

static struct str custom_of(struct arena *a, struct str host, struct str env, uint32_t packages)
{
	auto_buf b = BUF_INIT(4096);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_str(&w, "host", host);
	jw_kv_str(&w, "environment", env);
	jw_kv_int(&w, "packages", packages);
	jw_kv_int(&w, "made_ms", clock_wall_ms());
	jw_object_end(&w);
	return arena_str(a, buf_str(&b));
}

VEC_TYPE(files, struct tuf_file);

static struct tuf_file *listed(struct files *v, struct str path)
{
	vec_foreach(f, v)
		if (str_eq(f->path, path))
			return f;
	return NULL;
}

/* Before the signatures: plans/HOST/ENV.spr, and the same as targets/HOST/DIGEST.ENV.spr. */
static int place(struct signing *s, const struct tuf_file *f, struct str text, struct err *e)
{
	const char *path = arena_printf(&s->c->arena, "plans/%.*s", STR_ARG(f->path));
	const char *folder = arena_printf(&s->c->arena, "%.*s", (int)str_rfind(str_c(path), '/'), path);
	if (s->c->dry_run)
		return 0;
	if (fs_mkdirs(s->dir, folder, 0755, e) < 0 || fs_replace(s->dir, path, text.p, text.n, 0, e) < 0)
		return -1;
	auto_fd tree = fs_open_dir(s->dir, "plans", e);
	auto_fd to = tree < 0 || fs_mkdirs(s->dir, "targets", 0755, e) < 0 ? -1 : fs_open_dir(s->dir, "targets", e);
	return to < 0 ? -1 : tuf_files_place(tree, f, 1, to, e);
}

static int add_plans(struct signing *s, const struct env_plan *p, const struct names *hosts, struct files *all,
		     struct err *e)
{
	auto_buf text = BUF_INIT(PLAN_MAX);
	struct arena *a = &s->c->arena;
	struct tuf_file *old;
	size_t n;
	env_file_write_spr(&p->target, &text);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "a plan of more than %d MiB", PLAN_MAX >> 20);
	if (tuf_keeper_targets(s->keeper, STR("targets"), a, &old, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		vec_push(all, old[i]);
	vec_foreach(host, hosts) {
		struct tuf_file f = {
			.path = str_c(arena_printf(a, "%.*s/%.*s.spr", STR_ARG(*host), STR_ARG(p->target.name))),
			.length = text.n,
		};
		struct tuf_file *there = listed(all, f.path);
		sha256(text.p, text.n, f.sha256);
		if (there && memcmp(there->sha256, f.sha256, sizeof(f.sha256)) == 0)
			continue;
		f.custom = custom_of(a, *host, p->target.name, p->target.packages_n);
		if (there)
			*there = f;
		else
			vec_push(all, f);
		if (place(s, &f, buf_str(&text), e) < 0)
			return -1;
	}
	return 0;
}

static int signed_answer(struct signing *s, const struct plan_args *a, const struct env_plan *p,
			 const struct names *hosts, const struct tuf_commit *done)
{
	struct cmd_context *c = s->c;
	auto_answer answer = {0};
	if (!c->json) {
		cmd_say(c, "%s for %zu host%s: '%.*s', %u package%s", c->dry_run ? "would sign" : "signed", hosts->n,
			hosts->n == 1 ? "" : "s", STR_ARG(p->target.name), p->target.packages_n,
			p->target.packages_n == 1 ? "" : "s");
		tuf_say_signed(c, done);
		if (done->n && !c->dry_run)
			cmd_say(c,
				"next: 'slipway plan publish %s FOLDER', where FOLDER is the mirror's channel of plans",
				a->words.v[0]);
		return CMD_OK;
	}
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "sign");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "repository", a->words.v[0]);
	jw_kv_str(w, "environment", p->target.name);
	jw_kv_int(w, "packages", p->target.packages_n);
	jw_kv_list(w, "hosts", hosts->v, hosts->n);
	tuf_put_signed(w, done);
	return cmd_answer_print(c, &answer);
}

static int sign(struct signing *s, struct plan_args *a, struct names *hosts, struct files *all, struct err *e)
{
	struct env_plan p;
	struct tuf_commit done;
	if (gather_hosts(s->c, a, hosts, e) < 0 || read_lock(s->c, a, &p, e) < 0 || open_signing(s, a, e) < 0 ||
	    add_plans(s, &p, hosts, all, e) < 0 ||
	    tuf_keeper_set_targets(s->keeper, STR("targets"), all->v, all->n, e) < 0 ||
	    tuf_keeper_commit(s->keeper, &s->c->arena, &done, e) < 0)
		return -1;
	if (done.n && !s->c->dry_run)
		cmd_changed(s->c);
	return signed_answer(s, a, &p, hosts, &done);
}

int plan_sign(struct cmd_context *c, struct plan_args *a, struct err *e)
{
	auto_signing s = {.c = c, .dir = -1, .metadata = -1};
	struct names hosts = {0};
	struct files all = {0};
	if (a->words.n != 2)
		return err_new(e, ERR_USAGE, "write: slipway plan sign DIR RECIPE --keys KEYS --host NAME...");
	int rc = sign(&s, a, &hosts, &all, e);
	vec_release(&hosts);
	vec_release(&all);
	return rc;
}

/* -- publishing ------------------------------------------------------------------------------------------------------------------ */

/* The folder that is served gets plans, then metadata with a version in their names, then timestamp.json and roots, as the keys of both allow: a host
 * sees what was there before, or what is there now. What comes is held against what was published there before, as a host does. */
struct publishing {
	struct cmd_context *c;
	int from, from_metadata, to, trust;
	struct tuf_client *client;
	struct buf timestamp; /* that was verified */
	bool hide_roots, roots_last;
	uint64_t files, bytes;
};

static void publishing_release(struct publishing *p)
{
	buf_release(&p->timestamp);
	tuf_client_free(p->client);
	cleanup_fd(&p->from);
	cleanup_fd(&p->from_metadata);
	cleanup_fd(&p->to);
	cleanup_fd(&p->trust);
}
#define auto_publishing cleanup_with(publishing_release) struct publishing

static int fetch_file(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct publishing *p = ctx;
	if (p->hide_roots && str_ends(str_c(name), STR(".root.json")))
		return err_new(e, ERR_NOT_FOUND, "%s: not looked at", name);
	if (fs_read(p->from_metadata, name, ret, e) < 0)
		return -1;
	if (strcmp(name, "timestamp.json") == 0) {
		buf_clear(&p->timestamp);
		buf_put_str(&p->timestamp, buf_str(ret));
	}
	return 0;
}

/* What the folder trusts: the root of what was published there first. */
static int open_trust(struct publishing *p, struct err *e)
{
	auto_buf root = BUF_INIT(META_MAX);
	bool begun = fs_exists(p->to, "metadata/1.root.json");
	if (fs_read(begun ? p->to : p->from, "metadata/1.root.json", &root, e) < 0)
		return -1;
	if (p->c->dry_run && !fs_exists(p->to, TRUST "/root.json"))
		return tuf_client_init(-1, buf_str(&root), e);
	if (!p->c->dry_run && fs_mkdirs(p->to, TRUST, 0755, e) < 0)
		return -1;
	p->trust = fs_open_dir(p->to, TRUST, e);
	if (p->trust < 0)
		return -1;
	return fs_exists(p->trust, "root.json") ? 0 : tuf_client_init(p->trust, buf_str(&root), e);
}

static int refresh(struct publishing *p, bool keep_nothing, struct err *e)
{
	struct tuf_client_opts o = TUF_CLIENT_OPTS_INIT;
	o.dir_fd = p->trust;
	o.fetch = fetch_file;
	o.fetch_ctx = p;
	o.keep_nothing = keep_nothing;
	tuf_client_free(p->client);
	p->client = NULL;
	return tuf_client_open(&o, &p->client, e) < 0 || tuf_client_refresh(p->client, e) < 0 ? -1 : 0;
}

/* Where those who know the root of before can take the new metadata, that comes first, and root then: else root first. */
static int verify(struct publishing *p, const char *from, struct err *e)
{
	struct err none = ERR_INIT;
	if (p->trust < 0)
		return 0; /* a dry run into an empty folder */
	p->hide_roots = true;
	p->roots_last = refresh(p, true, &none) == 0;
	p->hide_roots = false;
	return refresh(p, p->c->dry_run, e) < 0 ? err_ctx(e, "'%s' is no next state of what is published", from) : 0;
}

static int put_bytes(struct publishing *p, const char *path, struct str bytes, struct err *e)
{
	const char *folder = arena_printf(&p->c->arena, "%.*s", (int)str_rfind(str_c(path), '/'), path);
	p->files++;
	p->bytes += bytes.n;
	if (p->c->dry_run)
		return 0;
	return fs_mkdirs(p->to, folder, 0755, e) < 0 ||
			       fs_replace(p->to, path, bytes.p, bytes.n, FS_REPLACE_SYNC, e) < 0
		       ? -1
		       : 0;
}

static int put(struct publishing *p, const char *path, size_t max, const struct tuf_target *t, struct err *e)
{
	auto_buf b = BUF_INIT(max);
	if (fs_exists(p->to, path))
		return 0;
	return fs_read(p->from, path, &b, e) < 0 || (t && tuf_target_check(t, buf_str(&b), e) < 0)
		       ? -1
		       : put_bytes(p, path, buf_str(&b), e);
}

/* What hosts ask for first, and so what comes last. */
static int put_timestamp(struct publishing *p, struct err *e)
{
	static const char path[] = "metadata/timestamp.json";
	auto_buf there = BUF_INIT(META_MAX);
	struct err none = ERR_INIT;
	if (fs_read(p->to, path, &there, &none) == 0 && str_eq(buf_str(&there), buf_str(&p->timestamp)))
		return 0;
	return put_bytes(p, path, buf_str(&p->timestamp), e);
}

static int put_plans(struct publishing *p, struct err *e)
{
	struct str *v;
	size_t n;
	if (!p->client)
		return 0;
	tuf_client_paths(p->client, &p->c->arena, &v, &n);
	for (size_t i = 0; i < n; i++) {
		struct tuf_target t;
		char hex[SHA256_HEX_SIZE];
		ptrdiff_t slash = str_rfind(v[i], '/');
		if (!fs_path_is_inside(v[i]))
			return err_new(e, ERR_INPUT, "'%.*s' is no path of a plan", STR_ARG(v[i]));
		if (tuf_client_target(p->client, v[i], &t, e) <= 0)
			return -1;
		hex_encode(t.sha256, SHA256_SIZE, hex);
		const char *path = arena_printf(&p->c->arena, "targets/%.*s%s.%.*s", (int)(slash + 1), v[i].p, hex,
						STR_ARG(str_skip(v[i], (size_t)(slash + 1))));
		if (put(p, path, PLAN_MAX, &t, e) < 0)
			return err_ctx(e, "plan '%.*s'", STR_ARG(v[i]));
	}
	return 0;
}

/* "12.targets.json" → 12; 0: no such name. */
static uint64_t version_of(const char *name, bool *is_root)
{
	struct str rest = str_c(name);
	uint64_t version;
	if (!str_take_u64(&rest, &version) || !str_take_char(&rest, '.') || !str_ends(rest, STR(".json")))
		return 0;
	*is_root = str_eq(rest, STR("root.json"));
	return version;
}

static int put_metadata(struct publishing *p, bool roots, struct err *e)
{
	auto_fs_list l = {0};
	uint64_t last = 0;
	bool is_root = false;
	if (fs_list(p->from_metadata, ".", FILES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		uint64_t version = version_of(l.name[i], &is_root);
		const char *path = arena_printf(&p->c->arena, "metadata/%s", l.name[i]);
		if (version && is_root && version > last)
			last = version;
		if (version && !is_root && !roots && put(p, path, META_MAX, NULL, e) < 0)
			return -1;
	}
	for (uint64_t v = 1; roots && v <= last; v++)
		if (put(p, arena_printf(&p->c->arena, "metadata/%" PRIu64 ".root.json", v), META_MAX, NULL, e) < 0)
			return -1;
	return 0;
}

static int published_answer(struct publishing *p, const struct plan_args *a)
{
	struct cmd_context *c = p->c;
	auto_answer answer = {0};
	auto_buf until = BUF_INIT(64);
	struct tuf_trusted now = {0};
	if (p->client)
		now = tuf_client_trusted(p->client);
	if (!c->json) {
		if (now.expires_ms)
			clock_put_table(&until, now.expires_ms);
		cmd_say(c, "%s %" PRIu64 " files into '%s'%s%s%s", c->dry_run ? "would bring" : "brought", p->files,
			a->words.v[1], now.expires_ms ? "; hosts take these plans until " : "",
			now.expires_ms ? until.p : "", now.expires_ms ? " UTC: 'slipway tuf renew' before then" : "");
		return CMD_OK;
	}
	struct jw *w = cmd_answer(&answer);
	clock_put_iso(&until, now.expires_ms);
	jw_kv_c(w, "operation", "publish");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "folder", a->words.v[1]);
	jw_kv_int(w, "files", (int64_t)p->files);
	jw_kv_int(w, "bytes", (int64_t)p->bytes);
	jw_kv_int(w, "version", now.targets);
	jw_kv_str(w, "expires", now.expires_ms ? buf_str(&until) : STR(""));
	return cmd_answer_print(c, &answer);
}

int plan_publish(struct cmd_context *c, struct plan_args *a, struct err *e)
{
	auto_publishing p = {
		.c = c, .from = -1, .from_metadata = -1, .to = -1, .trust = -1, .timestamp = BUF_INIT(META_MAX)};
	if (a->words.n != 2)
		return err_new(e, ERR_USAGE,
			       "write: slipway plan publish DIR FOLDER, with the mirror's channel of plans as FOLDER");
	const char *from = a->words.v[0];
	p.from = fs_open_dir(AT_FDCWD, from, e);
	p.from_metadata = p.from < 0 ? -1 : fs_open_dir(p.from, "metadata", e);
	if (p.from_metadata < 0)
		return err_ctx(e, "no repository of plans in '%s'", from);
	if (cmd_target_tree(c, &a->words.v[1], e) < 0)
		return -1;
	p.to = fs_open_dir(AT_FDCWD, a->words.v[1], e);
	if (p.to < 0)
		return err_ctx(e, "'slipway channel create MIRROR/plan --kind plan --type local' makes the folder");
	if (open_trust(&p, e) < 0 || verify(&p, from, e) < 0 || put_plans(&p, e) < 0 ||
	    put_metadata(&p, false, e) < 0 || (!p.roots_last && put_metadata(&p, true, e) < 0) ||
	    put_timestamp(&p, e) < 0 || (p.roots_last && put_metadata(&p, true, e) < 0))
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	return published_answer(&p, a);
}
