// SPDX-License-Identifier: Apache-2.0
/* tuf: signed metadata. The verb may stand behind its options, as the protocol of TUF's conformance suite has it. */
#include "cmd/tuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/url.h"
#include "cmd/change.h"
#include "repo/repo.h"

enum { ROOT_BYTES_MAX = 512 << 10, PATIENCE_S = 60, PATIENCE_MAX_S = 86400 };

static void args_release(struct tuf_args *a)
{
	struct cmd_list *const lists[] = {&a->target_names, &a->keys,	&a->key,  &a->new_keys, &a->threshold,
					  &a->expires,	    &a->remove, &a->path, &a->under};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		vec_release(lists[i]);
	vec_release(&a->words);
}
#define auto_args cleanup_with(args_release) struct tuf_args

const struct clock *tuf_clock(const struct tuf_args *a, struct clock_fake *fake)
{
	*fake = clock_fake_at(0, a->time_ms);
	return a->time ? &fake->base : &clock_system;
}

static int need_option(const char *value, const char *name, struct err *e)
{
	return value && value[0] ? 0 : err_new(e, ERR_USAGE, "which %s? say it with --%s", name, name);
}

/* -- fetching -------------------------------------------------------------------------------------------------------- */

struct source {
	struct cmd_context *c;
	const char *url;
	int64_t patience_ms;
};

static char *below(const char *base, const char *name)
{
	size_t n = strlen(base);
	return xasprintf("%s%s%s", base, n && base[n - 1] == '/' ? "" : "/", name);
}

static int may_ask(struct cmd_context *c, const char *url, struct err *e)
{
	if (c->offline && !str_starts(str_c(url), STR("file:")))
		return err_new(e, ERR_NETWORK, "--offline: nothing is asked of '%s'", url);
	return cmd_need_transfer(c, e);
}

static int get(struct cmd_context *c, const char *url, int fd, uint64_t max_bytes, int64_t patience_ms, struct err *e)
{
	return may_ask(c, url, e) < 0 ? -1 : repo_get(c->transfer, url, fd, max_bytes, patience_ms, e);
}

static int fetch(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	const struct source *s = ctx;
	auto_free char *url = below(s->url, name);
	return may_ask(s->c, url, e) < 0 ? -1 : repo_get_text(s->c->transfer, url, s->patience_ms, ret, e);
}

/* -- init ------------------------------------------------------------------------------------------------------------- */

static int init(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_buf root = BUF_INIT(ROOT_BYTES_MAX);
	auto_answer answer = {0};
	if (need_option(a->metadata_dir, "metadata-dir", e) < 0 || fs_read_any(AT_FDCWD, a->words.v[1], &root, e) < 0)
		return -1;
	auto_fd dir = c->dry_run ? -1 : fs_open_dir_make(AT_FDCWD, a->metadata_dir, e);
	if ((dir < 0 && !c->dry_run) || tuf_client_init(dir, buf_str(&root), e) < 0)
		return err_ctx(e, "'%s'", a->words.v[1]);
	if (!c->dry_run)
		cmd_changed(c);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "init");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "metadata_dir", a->metadata_dir);
	if (c->json)
		return cmd_answer_print(c, &answer);
	cmd_say(c, "%s '%s' in '%s'", c->dry_run ? "would trust" : "trusting", a->words.v[1], a->metadata_dir);
	return CMD_OK;
}

/* -- refresh ---------------------------------------------------------------------------------------------------------- */

struct session {
	struct source source;
	struct clock_fake fake;
	int dir_fd;
	struct tuf_client *client;
};

static void session_release(struct session *s)
{
	tuf_client_free(s->client);
	cleanup_fd(&s->dir_fd);
}
#define auto_session cleanup_with(session_release) struct session

static int begin(struct cmd_context *c, const struct tuf_args *a, struct session *s, struct err *e)
{
	struct tuf_client_opts o = TUF_CLIENT_OPTS_INIT;
	if (need_option(a->metadata_dir, "metadata-dir", e) < 0 || need_option(a->metadata_url, "metadata-url", e) < 0)
		return -1;
	s->dir_fd = fs_open_dir(AT_FDCWD, a->metadata_dir, e);
	if (s->dir_fd < 0)
		return err_ctx(e, "--metadata-dir '%s'", a->metadata_dir);
	s->source = (struct source){c, a->metadata_url, a->patience_s * 1000};
	o.dir_fd = s->dir_fd;
	o.fetch = fetch;
	o.fetch_ctx = &s->source;
	o.clock = tuf_clock(a, &s->fake);
	o.keep_nothing = c->dry_run;
	o.plain_urls = a->plain_urls;
	if (tuf_client_open(&o, &s->client, e) < 0)
		return err_ctx(e, "metadata in '%s'", a->metadata_dir);
	cmd_if_interrupted(c, "what was verified so far is kept");
	return tuf_client_refresh(s->client, e) < 0 ? err_ctx(e, "metadata of '%s'", a->metadata_url) : 0;
}

static void put_trusted(struct jw *w, const struct tuf_client *client)
{
	struct tuf_trusted t = tuf_client_trusted(client);
	auto_buf until = BUF_INIT(64);
	clock_put_iso(&until, t.expires_ms);
	jw_key(w, "trusted");
	jw_object(w);
	jw_kv_int(w, "root", t.root);
	jw_kv_int(w, "timestamp", t.timestamp);
	jw_kv_int(w, "snapshot", t.snapshot);
	jw_kv_int(w, "targets", t.targets);
	jw_object_end(w);
	jw_kv_str(w, "expires", buf_str(&until));
}

static int refresh(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_session s = {.dir_fd = -1};
	auto_answer answer = {0};
	auto_buf until = BUF_INIT(64);
	if (begin(c, a, &s, e) < 0)
		return -1;
	struct tuf_trusted t = tuf_client_trusted(s.client);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "refresh");
	jw_kv_bool(w, "dry_run", c->dry_run);
	put_trusted(w, s.client);
	if (c->json)
		return cmd_answer_print(c, &answer);
	clock_put_iso(&until, t.expires_ms);
	cmd_say(c, "root %lld, timestamp %lld, snapshot %lld, targets %lld; good until %s", (long long)t.root,
		(long long)t.timestamp, (long long)t.snapshot, (long long)t.targets, until.p);
	return CMD_OK;
}

/* -- download --------------------------------------------------------------------------------------------------------- */

static bool is_there(int dir_fd, const struct tuf_target *t, const char *path)
{
	struct err other = ERR_INIT;
	auto_fd fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && tuf_target_check_fd(t, fd, &other) == 0;
}

static int put_in_place(int dir_fd, const char *tmp, const char *path, int fd, struct err *e)
{
	const char *slash = strrchr(path, '/');
	auto_free char *parent = slash ? str_dup(str_of(path, (size_t)(slash - path))) : xstrdup(".");
	if (fs_mkdirs(dir_fd, parent, 0777, e) < 0)
		return -1;
	if (sys_fsync(fd) < 0 || sys_renameat(dir_fd, tmp, dir_fd, path) < 0)
		return err_sys(e, "put '%s' in place", path);
	return fs_sync_dir(dir_fd, parent, e);
}

/* Nothing has the target's name before it was verified. */
static int download_one(struct cmd_context *c, const struct tuf_args *a, int dir_fd, const struct tuf_target *t,
			const char *path, struct err *e)
{
	auto_free char *url = below(a->target_base_url, t->url_path);
	auto_free char *tmp = xasprintf(".slipway-tuf.%ld.tmp", (long)getpid());
	if (sys_unlinkat(dir_fd, tmp, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", tmp);
	auto_fd fd = sys_openat(dir_fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_sys(e, "create '%s'", tmp);
	int rc = get(c, url, fd, t->length > 0 ? t->length : 1, a->patience_s * 1000, e);
	if (rc == 0)
		rc = tuf_target_check_fd(t, fd, e);
	if (rc == 0)
		rc = put_in_place(dir_fd, tmp, path, fd, e);
	if (rc < 0)
		(void)sys_unlinkat(dir_fd, tmp, 0);
	return rc;
}

static int take_one(struct cmd_context *c, const struct tuf_args *a, struct session *s, int dir_fd, const char *path,
		    struct jw *w, struct err *e)
{
	struct tuf_target t;
	int rc = tuf_client_target(s->client, str_c(path), &t, e);
	if (rc == 0)
		err_new(e, ERR_NOT_FOUND, "target '%s': nobody signs for it in this repository", path);
	if (rc <= 0)
		return -1;
	if (!fs_path_is_inside(str_c(path)))
		return err_new(e, ERR_INPUT, "target '%s' would lie outside of its folder", path);
	bool had = dir_fd >= 0 && is_there(dir_fd, &t, path);
	if (!had && !c->dry_run && download_one(c, a, dir_fd, &t, path, e) < 0)
		return -1;
	jw_object(w);
	jw_kv_c(w, "path", path);
	jw_kv_str(w, "role", t.role);
	jw_kv_int(w, "size", (int64_t)t.length);
	jw_kv_bool(w, "had", had);
	jw_object_end(w);
	const char *what = had ? "is there already" : c->dry_run ? "would be downloaded" : "downloaded";
	cmd_say(c, "'%s' %s: %llu bytes, signed by '%.*s'", path, what, (unsigned long long)t.length, STR_ARG(t.role));
	return 0;
}

static int download(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_session s = {.dir_fd = -1};
	auto_answer answer = {0};
	struct err none = ERR_INIT;
	if (a->target_names.n == 0)
		return err_new(e, ERR_USAGE, "download what? say it with --target-name PATH");
	if (need_option(a->target_dir, "target-dir", e) < 0 ||
	    need_option(a->target_base_url, "target-base-url", e) < 0 || begin(c, a, &s, e) < 0)
		return -1;
	auto_fd dir = c->dry_run ? fs_open_dir(AT_FDCWD, a->target_dir, &none)
				 : fs_open_dir_make(AT_FDCWD, a->target_dir, e);
	if (dir < 0 && !c->dry_run)
		return -1;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "download");
	jw_kv_bool(w, "dry_run", c->dry_run);
	put_trusted(w, s.client);
	jw_key(w, "targets");
	jw_array(w);
	for (size_t i = 0; i < a->target_names.n; i++)
		if (take_one(c, a, &s, dir, a->target_names.v[i], w, e) < 0)
			return -1;
	jw_array_end(w);
	return c->json ? cmd_answer_print(c, &answer) : CMD_OK;
}

/* -- verbs ------------------------------------------------------------------------------------------------------------ */

static const struct tuf_verb verbs[] = {
	{"init", init, 1, 1, "--metadata-dir DIR init ROOT.json"},
	{"refresh", refresh, 0, 0, "--metadata-dir DIR --metadata-url URL refresh"},
	{"download", download, 0, 0,
	 "--metadata-dir DIR --metadata-url URL --target-name PATH... --target-base-url URL --target-dir DIR download"},
	{"key", tuf_key, 0, 0, "key --keys DIR [--type ed25519|ecdsa] [--encrypt]"},
	{"create", tuf_create, 1, 1,
	 "create DIR --keys [ROLE=]DIR... [--key ROLE=FILE...] [--new-keys ROLE=N...] [--threshold ROLE=N...] [--expires ROLE=DAYS...]"},
	{"publish", tuf_publish, 1, 1, "publish DIR --keys DIR... --from FOLDER [--role ROLE] [--target-dir DIR]"},
	{"add-target", tuf_add_target, 2, SIZE_MAX, "add-target DIR PATH... --keys DIR... --from FOLDER [--role ROLE]"},
	{"remove-target", tuf_remove_target, 2, SIZE_MAX, "remove-target DIR PATH... --keys DIR... [--role ROLE]"},
	{"delegate", tuf_delegate, 2, 2,
	 "delegate DIR ROLE --keys DIR... --path PATTERN...|--under FOLDER... [--key FILE...] [--threshold N] [--terminating]"},
	{"rotate", tuf_rotate, 2, 2,
	 "rotate DIR ROLE --keys [ROLE=]DIR... [--key FILE...] [--new-keys N] [--remove KEYID...] [--threshold N]"},
	{"sign", tuf_sign, 1, 1, "sign DIR --keys DIR..."},
	{"renew", tuf_renew, 1, SIZE_MAX, "renew DIR [ROLE...] --keys DIR..."},
	{"show", tuf_show, 1, 1, "show DIR [--keys DIR...]"},
};

static const struct tuf_verb *find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int run(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	const struct tuf_verb *v = a->words.n ? find(a->words.v[0]) : NULL;
	if (!v && a->words.n)
		return err_new(e, ERR_USAGE, "'tuf' has no verb '%s'; 'slipway tuf --help' lists them", a->words.v[0]);
	if (!v)
		return err_new(e, ERR_USAGE, "tuf what? 'slipway tuf --help' lists the verbs");
	if (a->words.n - 1 < v->words_min || a->words.n - 1 > v->words_max)
		return err_new(e, ERR_USAGE, "write: slipway tuf %s", v->usage);
	if (a->time && !tuf_time(str_c(a->time), &a->time_ms))
		return err_new(e, ERR_USAGE, "--time wants a time like 2030-01-31T12:00:00Z, not '%s'", a->time);
	if (a->patience_s < 0 || a->patience_s > PATIENCE_MAX_S)
		return err_new(e, ERR_USAGE, "--patience wants seconds, up to a day");
	return v->run(c, a, e);
}

int cmd_tuf(struct cmd_context *c, int argc, char **argv)
{
	auto_args a = {.type = "ed25519", .role = "targets", .parent = "targets", .patience_s = PATIENCE_S};
	const struct cmd_option options[] = {
		{0, "metadata-dir", CMD_TEXT, &a.metadata_dir},
		{0, "metadata-url", CMD_TEXT, &a.metadata_url},
		{0, "target-name", CMD_LIST, &a.target_names},
		{0, "target-base-url", CMD_TEXT, &a.target_base_url},
		{0, "target-dir", CMD_TEXT, &a.target_dir},
		{0, "plain-urls", CMD_FLAG, &a.plain_urls},
		{0, "keys", CMD_LIST, &a.keys},
		{0, "key", CMD_LIST, &a.key},
		{0, "new-keys", CMD_LIST, &a.new_keys},
		{0, "threshold", CMD_LIST, &a.threshold},
		{0, "expires", CMD_LIST, &a.expires},
		{0, "remove", CMD_LIST, &a.remove},
		{0, "type", CMD_TEXT, &a.type},
		{0, "from", CMD_TEXT, &a.from},
		{0, "role", CMD_TEXT, &a.role},
		{0, "parent", CMD_TEXT, &a.parent},
		{0, "path", CMD_LIST, &a.path},
		{0, "under", CMD_LIST, &a.under},
		{0, "terminating", CMD_FLAG, &a.terminating},
		{0, "encrypt", CMD_FLAG, &a.encrypt},
		{0, "passphrase-file", CMD_TEXT, &a.passphrase_file},
		{0, "patience", CMD_NUMBER, &a.patience_s},
		{0, "time", CMD_TEXT, &a.time},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	int rc = run(c, &a, &e);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}
