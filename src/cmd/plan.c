// SPDX-License-Identifier: Apache-2.0
/* plan: trust, show, verify; and what every change of an environment is held against where the configuration says so. */
#include "cmd/plan.h"

#include <fcntl.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "cmd/takeout.h"
#include "mirror/mirror.h"
#include "repo/repo.h"

#define PIN "plan/plan.json"
#define PINNED_ROOT "plan/root.json"
#define METADATA "plan/metadata"
#define KEPT "plan/kept"
enum { PIN_MAX = 64 << 10, ROOT_MAX = 512 << 10, PLAN_MAX = 256 << 20, SHOWN_MAX = 6, NAME_MAX_BYTES = 100 };

bool cmd_is_plan(const char *word)
{
	return str_starts(str_c(word), STR("plan:"));
}

/* -- whom this host trusts, and who it is --------------------------------------------------------------------------- */

struct pin {
	struct str host, url; /* url empty: below the mirror that updates come from */
};

/* 1; 0: nobody. */
static int read_pin(struct cmd_context *c, struct pin *ret, struct err *e)
{
	auto_buf b = BUF_INIT(PIN_MAX);
	int64_t version;
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (!fs_exists(c->root_fd, PIN))
		return 0;
	if (fs_read(c->root_fd, PIN, &b, e) < 0)
		return -1;
	const struct json *j = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), "ROOT/" PIN, e);
	if (!j || json_get_int(j, "plan", &version, e) < 0 || json_get_str(j, "host", &ret->host, e) < 0 ||
	    json_opt_str(j, "url", &ret->url, e) < 0)
		return -1;
	if (version != 1)
		return err_new(e, ERR_UNSUPPORTED,
			       "ROOT/" PIN ": version %" PRId64 " of the format; this program knows 1", version);
	return 1;
}

static int need_pin(struct cmd_context *c, struct pin *ret, struct err *e)
{
	int rc = read_pin(c, ret, e);
	return rc != 0 ? rc
		       : err_new(e, ERR_NOT_FOUND,
				 "this host trusts nobody's plans: take the operator's root here, not from a mirror, and 'slipway plan trust ROOT.json'");
}

static bool is_host_name(struct str s)
{
	bool good = s.n > 0 && s.n <= NAME_MAX_BYTES && s.p[0] != '.';
	for (size_t i = 0; i < s.n; i++)
		good &= (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			(s.p[i] >= '0' && s.p[i] <= '9') || memchr("._-", s.p[i], 3) != NULL;
	return good;
}

/* What the mirror that updates come from calls this host. */
static int enrolled_name(struct cmd_context *c, struct str *ret, struct err *e)
{
	struct mirror_enrolled *v = NULL;
	struct str updates = STR_NONE;
	size_t n = 0;
	int rc = cmd_updates(c, &updates, e);
	if (rc < 0 || mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &v, &n, e) < 0)
		return -1;
	const struct mirror_enrolled *m = rc ? mirror_enrolled_at(v, n, updates) : n == 1 ? &v[0] : NULL;
	if (!m)
		return err_new(
			e, ERR_USAGE,
			"what is this host called in plans? it is not enrolled with the mirror that updates come from; say --host NAME");
	*ret = m->name;
	return 0;
}

static int write_pin(struct cmd_context *c, struct str host, const char *url, struct err *e)
{
	auto_buf b = BUF_INIT(PIN_MAX);
	struct jw w = JW_INIT(&b, 1);
	jw_object(&w);
	jw_kv_int(&w, "plan", 1);
	jw_kv_str(&w, "host", host);
	jw_kv_opt(&w, "url", str_c(url ? url : ""));
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return fs_replace(c->root_fd, PIN, b.p, b.n, FS_REPLACE_SYNC, e);
}

/* Another root is another operator, or a mistake. */
static int is_pinned(struct cmd_context *c, struct str root, bool replace, struct err *e)
{
	auto_buf old = BUF_INIT(ROOT_MAX);
	if (!fs_exists(c->root_fd, PIN) || !fs_exists(c->root_fd, PINNED_ROOT))
		return 0;
	if (fs_read(c->root_fd, PINNED_ROOT, &old, e) < 0)
		return -1;
	if (str_eq(buf_str(&old), root))
		return 1;
	return replace ? 0
		       : err_new(e, ERR_EXISTS,
				 "this host trusts another root of plans already; --replace forgets that one, and what it has seen of it");
}

int plan_trust(struct cmd_context *c, const char *root_file, struct str host, const char *url, bool replace,
	       struct err *e)
{
	auto_buf root = BUF_INIT(ROOT_MAX);
	if (!is_host_name(host))
		return err_new(e, ERR_USAGE, "'%.*s' is no name of a host: letters, digits, '.', '_' and '-'",
			       STR_ARG(host));
	if (url && !str_starts(str_c(url), STR("https://")) && !str_starts(str_c(url), STR("file:///")))
		return err_new(e, ERR_USAGE, "'%s' is no address of plans: https://HOST/plan, or file:///FOLDER", url);
	if (fs_read_any(AT_FDCWD, root_file, &root, e) < 0 || tuf_client_init(-1, buf_str(&root), e) < 0 ||
	    cmd_need_root(c, e) < 0)
		return err_ctx(e, "'%s'", root_file);
	int pinned = is_pinned(c, buf_str(&root), replace, e);
	if (pinned < 0 || c->dry_run)
		return pinned < 0 ? -1 : 0;
	auto_fd dir = fs_mkdirs(c->root_fd, METADATA, 0755, e) < 0 ? -1 : fs_open_dir(c->root_fd, METADATA, e);
	if (dir < 0)
		return -1;
	/* of the same root what was seen since counts, or its plans of before would be good again */
	if (!pinned && (tuf_client_init(dir, buf_str(&root), e) < 0 ||
			fs_replace(c->root_fd, PINNED_ROOT, root.p, root.n, FS_REPLACE_SYNC, e) < 0))
		return -1;
	if (write_pin(c, host, url, e) < 0)
		return -1;
	cmd_changed(c);
	return 0;
}

/* -- the newest plan ------------------------------------------------------------------------------------------------- */

/* As the mirror said it when it was asked last. */
static int fetch_kept(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct str file = str_c(name), rest = file;
	uint64_t version;
	auto_free char *path = NULL;
	if (str_take_u64(&rest, &version) && str_take_char(&rest, '.'))
		file = rest;
	if (str_eq(file, STR("root.json")))
		return err_new(e, ERR_NOT_FOUND, "no newer root is kept");
	path = str_dup(file);
	return fs_read(*(int *)ctx, path, ret, e);
}

struct asking {
	struct cmd_context *c;
	struct pin pin;
	int dir_fd;
	bool kept;
	struct repo *repo;
};

static void asking_release(struct asking *a)
{
	repo_free(a->repo);
	cleanup_fd(&a->dir_fd);
}
#define auto_asking cleanup_with(asking_release) struct asking

static int open_repo(struct asking *a, struct err *e)
{
	struct repo_opts o = REPO_OPTS_INIT;
	struct arena *arena = &a->c->arena;
	repo_free(a->repo);
	a->repo = NULL;
	o.transfer = a->kept ? NULL : a->c->transfer;
	o.dir_fd = a->dir_fd;
	o.metadata_url = arena_printf(arena, "%.*s/metadata", STR_ARG(a->pin.url));
	o.targets_url = arena_printf(arena, "%.*s/targets", STR_ARG(a->pin.url));
	o.label = arena_printf(arena, "signed plans of '%.*s'", STR_ARG(a->pin.host));
	o.keep_nothing = a->c->dry_run;
	if (a->kept)
		o.fetch = fetch_kept, o.fetch_ctx = &a->dir_fd;
	return repo_open(&o, &a->repo, e) < 0 || repo_refresh(a->repo, e) < 0 ? -1 : 0;
}

static int may_ask(struct cmd_context *c, struct str url, struct err *e)
{
	if (c->offline && !str_starts(url, STR("file:")))
		return err_new(e, ERR_NETWORK, "--offline: the mirror is not asked for signed plans");
	return cmd_need_transfer(c, e);
}

static int refresh(struct asking *a, struct err *e)
{
	struct cmd_context *c = a->c;
	struct err why = ERR_INIT;
	if (may_ask(c, a->pin.url, &why) == 0 && open_repo(a, &why) == 0)
		return 0;
	if (why.code != ERR_NETWORK)
		return *e = why, -1;
	a->kept = true;
	if (open_repo(a, e) < 0)
		return fs_exists(a->dir_fd, "timestamp.json") ? err_ctx(e, "%s; and what was verified before", why.msg)
							      : (*e = why, -1);
	if (!c->offline)
		cmd_say(c, "note: %s; the plan that was verified before is used", why.msg);
	return 0;
}

static int no_plan(struct asking *a, struct str env, struct err *e)
{
	auto_buf list = BUF_INIT(4096);
	struct str *v, name;
	size_t n;
	repo_paths(a->repo, &a->c->arena, &v, &n);
	for (size_t i = 0; i < n; i++) {
		name = v[i];
		if (str_take_str(&name, a->pin.host) && str_take_char(&name, '/') && str_ends(name, STR(".spr")))
			buf_printf(&list, "%s'%.*s'", list.n ? ", " : "", (int)(name.n - 4), name.p);
	}
	return err_new(
		e, ERR_NOT_FOUND,
		"no plan is signed for environment '%.*s' of '%.*s'%s%s; its operator signs one: 'slipway plan sign'",
		STR_ARG(env), STR_ARG(a->pin.host), list.n ? "; there are some for " : "", list.p);
}

/* What is kept is taken again where it is what is signed. */
static int get_text(struct asking *a, const struct tuf_target *t, struct str env, struct buf *ret, struct err *e)
{
	struct cmd_context *c = a->c;
	const char *kept = arena_printf(&c->arena, KEPT "/%.*s.spr", STR_ARG(env));
	struct err bad = ERR_INIT;
	if (fs_read(c->root_fd, kept, ret, &bad) == 0 && tuf_target_check(t, buf_str(ret), &bad) == 0)
		return 0;
	buf_clear(ret);
	int rc = repo_read(a->repo, t->path, ret, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "the plan vanished");
	if (c->dry_run)
		return 0;
	return fs_mkdirs(c->root_fd, KEPT, 0755, e) < 0 || fs_replace(c->root_fd, kept, ret->p, ret->n, 0, e) < 0 ? -1
														  : 0;
}

/* The target's own data say again for whom it is: one that an operator listed under a wrong path is noticed. */
static int read_custom(struct asking *a, const struct tuf_target *t, struct cmd_plan *p, struct err *e)
{
	struct str host = p->host, env = p->environment;
	if (!t->custom.n)
		return 0;
	const struct json *j = json_parse(&a->c->arena, t->custom, "the plan's own data", e);
	if (!j || json_opt_str(j, "host", &host, e) < 0 || json_opt_str(j, "environment", &env, e) < 0 ||
	    json_opt_int(j, "made_ms", &p->made_ms, e) < 0)
		return -1;
	return str_eq(host, p->host) && str_eq(env, p->environment)
		       ? 0
		       : err_new(e, ERR_VERIFY, "'%.*s' is signed as the plan for environment '%.*s' of '%.*s'",
				 STR_ARG(p->path), STR_ARG(env), STR_ARG(host));
}

static int check_lock(const struct cmd_plan *p, struct err *e)
{
	const struct env_spec_file *f = &p->lock;
	if (!f->is_lock || f->is_url_list)
		return err_new(e, ERR_VERIFY, "'%.*s' names no exact packages", STR_ARG(p->path));
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (!f->packages[i].record.has_sha256)
			return err_new(e, ERR_VERIFY, "'%.*s' has no SHA-256 of '%.*s'", STR_ARG(p->path),
				       STR_ARG(f->packages[i].record.name));
	return 0;
}

static int begin(struct cmd_context *c, struct asking *a, struct err *e)
{
	struct str updates;
	a->c = c;
	if (need_pin(c, &a->pin, e) < 0)
		return -1;
	if (!a->pin.url.n) {
		if (cmd_need_updates(c, &updates, e) < 0)
			return -1;
		a->pin.url = str_c(arena_printf(&c->arena, "%.*s/plan", STR_ARG(updates)));
	}
	a->dir_fd = fs_open_dir(c->root_fd, METADATA, e);
	return a->dir_fd < 0 ? -1 : refresh(a, e);
}

int cmd_plan_read(struct cmd_context *c, struct str env, struct cmd_plan *ret, struct err *e)
{
	auto_asking a = {.dir_fd = -1};
	auto_buf text = BUF_INIT(PLAN_MAX);
	struct tuf_target t;
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	if (env_name_check(env, e) < 0 || begin(c, &a, e) < 0)
		return -1;
	*ret = (struct cmd_plan){
		.host = a.pin.host,
		.environment = env,
		.url = a.pin.url,
		.path = str_c(arena_printf(&c->arena, "%.*s/%.*s.spr", STR_ARG(a.pin.host), STR_ARG(env))),
		.trusted = repo_state(a.repo),
	};
	int rc = repo_target(a.repo, ret->path, &t, e);
	if (rc <= 0)
		return rc < 0 ? -1 : no_plan(&a, env, e);
	if (read_custom(&a, &t, ret, e) < 0 || get_text(&a, &t, env, &text, e) < 0)
		return -1;
	sha256(text.p, text.n, digest);
	hex_encode(digest, sizeof(digest), hex);
	ret->sha256 = str_c(arena_printf(&c->arena, "%s", hex));
	const char *where = arena_printf(&c->arena, "plan '%.*s'", STR_ARG(ret->path));
	if (env_file_read(&c->arena, arena_str(&c->arena, buf_str(&text)), where, &ret->lock, e) < 0 ||
	    check_lock(ret, e) < 0)
		return -1;
	if (ret->lock.name.n && !str_eq(ret->lock.name, env))
		return err_new(e, ERR_VERIFY, "%s is one for environment '%.*s'", where, STR_ARG(ret->lock.name));
	ret->lock.name = env;
	return cmd_mirrored_file(c, &ret->lock, e);
}

/* -- what differs ------------------------------------------------------------------------------------------------------ */

struct findings {
	struct cmd_context *c;
	struct buf text;
	size_t n;
};

static void findings_release(struct findings *f)
{
	buf_release(&f->text);
}
#define auto_findings cleanup_with(findings_release) struct findings

__attribute__((format(printf, 2, 3))) static void found(struct findings *f, const char *fmt, ...)
{
	va_list ap;
	if (f->n++ >= SHOWN_MAX)
		return;
	if (f->n > 1)
		buf_put_c(&f->text, "; ");
	va_start(ap, fmt);
	buf_vprintf(&f->text, fmt, ap);
	va_end(ap);
}

static void compare_package(struct findings *f, const struct pkg_record *want, const struct pkg_record *have)
{
	if (!str_eq(want->version, have->version) || !str_eq(want->build, have->build))
		found(f, "%.*s %.*s %.*s is signed, not %.*s %.*s", STR_ARG(want->name), STR_ARG(want->version),
		      STR_ARG(want->build), STR_ARG(have->version), STR_ARG(have->build));
	else if (!have->has_sha256)
		found(f, "%.*s %.*s comes without a SHA-256", STR_ARG(have->name), STR_ARG(have->version));
	else if (memcmp(want->sha256, have->sha256, SHA256_SIZE) != 0)
		found(f, "%.*s %.*s has other bytes than were signed", STR_ARG(have->name), STR_ARG(have->version));
}

static void compare_packages(struct findings *f, const struct env_spec_file *plan, const struct env_spec_file *target)
{
	auto_map signed_at = MAP_INIT, there = MAP_INIT;
	for (uint32_t i = 0; i < plan->packages_n; i++)
		*map_put(&signed_at, plan->packages[i].record.name) = i + 1;
	for (uint32_t i = 0; i < target->packages_n; i++) {
		const struct pkg_record *r = &target->packages[i].record;
		const uint64_t *p = map_get(&signed_at, r->name);
		*map_put(&there, r->name) = 1;
		if (p)
			compare_package(f, &plan->packages[*p - 1].record, r);
		else
			found(f, "%.*s %.*s is not in it", STR_ARG(r->name), STR_ARG(r->version));
	}
	for (uint32_t i = 0; i < plan->packages_n; i++)
		if (!map_get(&there, plan->packages[i].record.name))
			found(f, "%.*s %.*s is missing", STR_ARG(plan->packages[i].record.name),
			      STR_ARG(plan->packages[i].record.version));
}

/* Components start programs and variables steer them: they are signed for, too. */
static void compare_settings(struct findings *f, const struct env_spec_file *plan, const struct env_spec_file *target)
{
	uint8_t want[SHA256_SIZE], have[SHA256_SIZE];
	struct env_spec_file x = *plan, y = *target;
	x.packages_n = y.packages_n = 0;
	env_lock_digest(&x, want);
	env_lock_digest(&y, have);
	if (memcmp(want, have, sizeof(want)) != 0)
		found(f, "components or variables are other ones");
	if (plan->subdir.n && target->subdir.n && !str_eq(plan->subdir, target->subdir))
		found(f, "it is for %.*s", STR_ARG(plan->subdir));
}

static int compare(struct cmd_context *c, const struct cmd_plan *p, const struct env_spec_file *target, struct err *e)
{
	auto_findings f = {.c = c, .text = BUF_INIT(BUF_MAX)};
	compare_packages(&f, &p->lock, target);
	compare_settings(&f, &p->lock, target);
	if (!f.n)
		return 0;
	if (f.n > SHOWN_MAX)
		buf_printf(&f.text, "; and %zu more", f.n - SHOWN_MAX);
	return err_new(
		e, ERR_VERIFY,
		"the signed plan of '%.*s' for '%.*s' says otherwise: %s; 'slipway apply plan:%.*s' does what is signed, and its operator can sign another one",
		STR_ARG(p->host), STR_ARG(p->environment), f.text.p, STR_ARG(p->environment));
}

/* -- what the channels say ----------------------------------------------------------------------------------------------- */

/* "https://…/site" of a record, or of its URL. */
static struct str channel_of(const struct pkg_record *r)
{
	struct str url = r->url;
	if (r->channel.n)
		return r->channel;
	for (int i = 0; i < 2; i++) {
		ptrdiff_t slash = str_rfind(url, '/');
		url = str_head(url, slash < 0 ? 0 : (size_t)slash);
	}
	return url;
}

static int check_record(struct cmd_context *c, const struct cmd_opened *o, const struct pkg_record *r, struct err *e)
{
	struct str channel = channel_of(r);
	for (size_t i = 0; i < o->indexes_n; i++) {
		const struct channel_index *x = &o->indexes[i];
		struct pkg_record there;
		struct ix_pkg at;
		if (!x->index || !str_eq(x->subdir, r->subdir) || !channel_matches(&x->channel, channel) ||
		    !index_find_file(x->index, r->fn, &at))
			continue;
		if (index_record(x->index, at, &x->channel, &c->arena, &there, e) < 0)
			return -1;
		if (there.has_sha256 && memcmp(there.sha256, r->sha256, SHA256_SIZE) == 0)
			return 0;
		return err_new(
			e, ERR_VERIFY,
			"channel '%.*s' has other bytes of '%.*s' than the signed plan: one of them was tampered with, or that file was published twice",
			STR_ARG(channel), STR_ARG(r->fn));
	}
	return err_new(
		e, ERR_VERIFY,
		"channel '%.*s' does not have '%.*s', which the signed plan names: what is installed must be what both say",
		STR_ARG(channel), STR_ARG(r->fn));
}

static bool is_there(const struct env_spec_file *before, const struct pkg_record *r)
{
	for (uint32_t i = 0; before && i < before->packages_n; i++)
		if (before->packages[i].record.has_sha256 &&
		    memcmp(before->packages[i].record.sha256, r->sha256, SHA256_SIZE) == 0)
			return true;
	return false;
}

/* What is new, and the channels that it comes from. */
static int check_channels(struct cmd_context *c, const struct env_spec_file *target, const struct env_spec_file *before,
			  const struct cmd_change_options *options, struct err *e)
{
	auto_opened opened = {0};
	const struct cmd_solve_options o = {.subdir = options->solve.subdir, .refresh = options->solve.refresh};
	struct str *channels = arena_array(&c->arena, struct str, (size_t)target->packages_n + 1);
	struct str *names = arena_array(&c->arena, struct str, (size_t)target->packages_n + 1);
	const struct pkg_record **new =
		arena_array(&c->arena, const struct pkg_record *, (size_t)target->packages_n + 1);
	size_t channels_n = 0, n = 0;
	for (uint32_t i = 0; i < target->packages_n; i++) {
		const struct pkg_record *r = &target->packages[i].record;
		struct str channel = channel_of(r);
		bool known = false;
		if (is_there(before, r))
			continue;
		names[n] = r->name;
		new[n++] = r;
		for (size_t k = 0; k < channels_n; k++)
			known |= str_eq(channels[k], channel);
		if (!known)
			channels[channels_n++] = channel;
	}
	if (!n)
		return 0;
	if (cmd_open_channels(c, &o, channels, channels_n, names, n, &opened, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (check_record(c, &opened, new[i], e) < 0)
			return -1;
	return 0;
}

/* -- the policy ------------------------------------------------------------------------------------------------------------ */

static int is_required(struct cmd_context *c, struct str env, struct err *e)
{
	if (cmd_need_config(c, e) < 0)
		return -1;
	for (size_t i = 0; i < c->config.require_signed_plan.n; i++) {
		struct str s = c->config.require_signed_plan.v[i].s;
		if (str_eq(s, env) || str_eq(s, STR("*")))
			return 1;
	}
	return 0;
}

int cmd_plan_check(struct cmd_context *c, struct str env, const struct env_spec_file *target,
		   const struct env_spec_file *before, const struct cmd_change_options *options, struct err *e)
{
	struct cmd_plan p;
	int rc = is_required(c, env, e);
	if (rc <= 0)
		return rc;
	if (cmd_plan_read(c, env, &p, e) < 0)
		return err_ctx(e, "'%.*s' is changed to what is signed only (require_signed_plan)", STR_ARG(env));
	if (compare(c, &p, target, e) < 0)
		return -1;
	return options ? check_channels(c, target, before, options, e) : 0;
}

/* -- commands ---------------------------------------------------------------------------------------------------------------- */

static int trust(struct cmd_context *c, struct plan_args *a, struct err *e)
{
	auto_answer answer = {0};
	struct str host = str_c(a->host_name);
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "which root? as in: slipway plan trust 1.root.json");
	if (!a->host_name && enrolled_name(c, &host, e) < 0)
		return -1;
	if (plan_trust(c, a->words.v[0], host, a->url, a->replace, e) < 0)
		return -1;
	cmd_say(c, "%s plans for '%.*s' that are signed under '%s'", c->dry_run ? "would trust" : "trusting",
		STR_ARG(host), a->words.v[0]);
	int required = is_required(c, STR("*"), e);
	if (required == 0 && !c->config.require_signed_plan.n)
		cmd_say(c,
			"next: name the environments that are held to them, in %s/config.yml: require_signed_plan: [NAME]",
			c->root_path);
	if (required < 0)
		return -1;
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "trust");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_str(w, "host", host);
	jw_kv_c(w, "root", a->words.v[0]);
	return cmd_answer_print(c, &answer);
}

static void put_plan(struct jw *w, const struct cmd_plan *p)
{
	auto_buf until = BUF_INIT(64);
	clock_put_iso(&until, p->trusted.expires_ms);
	jw_kv_str(w, "host", p->host);
	jw_kv_str(w, "environment", p->environment);
	jw_kv_str(w, "url", p->url);
	jw_kv_str(w, "sha256", p->sha256);
	jw_kv_int(w, "version", p->trusted.targets);
	jw_kv_str(w, "expires", buf_str(&until));
	jw_kv_int(w, "made_ms", p->made_ms);
	jw_kv_int(w, "packages", p->lock.packages_n);
}

static int the_environment(struct cmd_context *c, const struct plan_args *a, struct str *ret, struct err *e)
{
	return cmd_need_state(c, true, e) < 0 ? -1 : cmd_the_environment(c, a->name, ret, e);
}

static int show(struct cmd_context *c, struct plan_args *a, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX), until = BUF_INIT(64);
	auto_answer answer = {0};
	struct cmd_plan p;
	struct str env = str_c(a->name);
	if ((!a->name && the_environment(c, a, &env, e) < 0) || cmd_plan_read(c, env, &p, e) < 0)
		return -1;
	env_file_write_spr(&p.lock, &b);
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		put_plan(w, &p);
		jw_kv_str(w, "text", buf_str(&b));
		return cmd_answer_print(c, &answer);
	}
	clock_put_table(&until, p.trusted.expires_ms);
	cmd_say(c, "plan of '%.*s' for '%.*s': version %" PRId64 ", %u package%s, good until %s UTC", STR_ARG(p.host),
		STR_ARG(env), p.trusted.targets, p.lock.packages_n, p.lock.packages_n == 1 ? "" : "s", until.p);
	return cmd_print(c, &b);
}

/* Whether what is installed, or what a recipe says, is what is signed. */
static int verify(struct cmd_context *c, struct plan_args *a, struct err *e)
{
	auto_answer answer = {0};
	struct env_spec_file is = {0};
	struct cmd_plan p;
	struct env_info info;
	struct str env = str_c(a->name);
	if (!a->name && the_environment(c, a, &env, e) < 0)
		return -1;
	if (a->words.n ? cmd_read_spec_file(c, a->words.v[0], &is, e) < 0
		       : cmd_need_state(c, true, e) < 0 || env_get(c->state, &c->arena, env, &info, e) < 0 ||
				 env_generation_lock(c->state, &c->arena, env, 0, &is, e) < 0)
		return -1;
	if (!is.is_lock)
		return err_new(e, ERR_USAGE, "'%s' names no exact packages: only a lock can be what is signed",
			       a->words.v[0]);
	if (cmd_plan_read(c, env, &p, e) < 0 || compare(c, &p, &is, e) < 0)
		return -1;
	cmd_say(c, "'%.*s' %s what is signed for '%.*s', version %" PRId64, STR_ARG(env),
		a->words.n ? "would be" : "is", STR_ARG(p.host), p.trusted.targets);
	if (!c->json)
		return CMD_OK;
	put_plan(cmd_answer(&answer), &p);
	return cmd_answer_print(c, &answer);
}

static int run(struct cmd_context *c, int argc, char **argv, size_t words_max,
	       int (*fn)(struct cmd_context *c, struct plan_args *a, struct err *e))
{
	struct plan_args a = {0};
	struct err e = ERR_INIT;
	const bool signs = fn == plan_sign;
	const struct cmd_option all[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "keys", CMD_LIST, &a.keys},
		{0, "host", signs ? CMD_LIST : CMD_TEXT, signs ? (void *)&a.host : (void *)&a.host_name},
		{0, "hosts", CMD_TEXT, &a.hosts_file},
		{0, "url", CMD_TEXT, &a.url},
		{0, "replace", CMD_FLAG, &a.replace},
		{0, NULL, CMD_FLAG, NULL},
	};
	int code = cmd_parse(c, all, false, argc, argv, &a.words, &e);
	if (code == 0 && !c->help && a.words.n > words_max)
		code = err_new(&e, ERR_USAGE, "unexpected word '%s'; 'slipway plan --help' shows how each is called",
			       a.words.v[words_max]);
	code = code < 0 ? -1 : c->help ? cmd_help(c) : fn(c, &a, &e);
	vec_release(&a.keys);
	vec_release(&a.host);
	vec_release(&a.words);
	return code < 0 ? cmd_fail(c, &e) : code;
}

int cmd_plan_trust(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, 1, trust);
}

int cmd_plan_show(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, 0, show);
}

int cmd_plan_verify(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, 1, verify);
}

int cmd_plan_sign(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, 2, plan_sign);
}

int cmd_plan_publish(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, 2, plan_publish);
}
