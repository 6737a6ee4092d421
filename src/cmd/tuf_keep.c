// SPDX-License-Identifier: Apache-2.0
/* tuf: the verbs of who keeps a repository and its keys. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cmd/passphrase.h"
#include "cmd/tuf.h"

enum { KEY_FILE_MAX = 64 << 10, KEYS_MAX = 64, UNDER_DEPTH = 8, SOON_DAYS = 30, PASSPHRASE_MAX = 1000 };
static const char *const top_roles[] = {"root", "targets", "snapshot", "timestamp"};

/* -- options that may name a role ----------------------------------------------------------------------------------- */

/* The value of "ROLE=value" for that role; of "value" where it may stand for all (`any`). */
static const char *value_for(const char *word, const char *role, bool any)
{
	const char *equals = strchr(word, '=');
	size_t n = strlen(role);
	if (equals && (size_t)(equals - word) == n && strncmp(word, role, n) == 0)
		return equals + 1;
	return any && !equals ? word : NULL;
}

static int number_for(const struct cmd_list *l, const char *option, const char *role, bool any, int64_t *ret,
		      struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *v = value_for(l->v[i], role, any);
		if (v && (!str_to_i64(str_c(v), ret) || *ret < 0 || *ret > 36500))
			return err_new(e, ERR_USAGE, "--%s wants a number, not '%s'", option, v);
	}
	return 0;
}

/* Each "ROLE=" has to be one: a slip of the pen would be a role without its keys. */
static int check_roles(const struct cmd_list *l, const char *option, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		bool known = false;
		for (size_t r = 0; r < sizeof(top_roles) / sizeof(top_roles[0]); r++)
			known |= value_for(l->v[i], top_roles[r], false) != NULL;
		if (!known)
			return err_new(e, ERR_USAGE,
				       "--%s wants ROLE=…, with root, targets, snapshot or timestamp, not '%s'", option,
				       l->v[i]);
	}
	return 0;
}

/* -- the repository ----------------------------------------------------------------------------------------------------- */

struct kept {
	int dir_fd, keys_fd[KEYS_MAX];
	size_t keys_n;
	struct clock_fake fake;
	struct tuf_keeper *keeper;
	VEC(struct tuf_public_key) made; /* by this command */
	struct cmd_passphrase old, fresh;
	struct buf passphrase; /* of new keys, once it was asked for */
};

static void kept_release(struct kept *k)
{
	tuf_keeper_free(k->keeper);
	cleanup_fd(&k->dir_fd);
	for (size_t i = 0; i < k->keys_n; i++)
		cleanup_fd(&k->keys_fd[i]);
	vec_release(&k->made);
	if (k->passphrase.p)
		explicit_bzero(k->passphrase.p, k->passphrase.n);
	buf_release(&k->passphrase);
}
#define auto_kept cleanup_with(kept_release) struct kept
#define KEPT_INIT ((struct kept){.dir_fd = -1, .passphrase = BUF_INIT(PASSPHRASE_MAX)})

static const char *folder_of(const char *word)
{
	for (size_t r = 0; r < sizeof(top_roles) / sizeof(top_roles[0]); r++)
		if (value_for(word, top_roles[r], false))
			return value_for(word, top_roles[r], false);
	return word;
}

static int open_keys(struct cmd_context *c, const struct tuf_args *a, bool make, struct kept *k, struct err *e)
{
	if (a->keys.n > KEYS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d folders of keys", KEYS_MAX);
	for (size_t i = 0; i < a->keys.n; i++) {
		const char *path = folder_of(a->keys.v[i]);
		if (make && !c->dry_run && fs_mkdirs(AT_FDCWD, path, 0700, e) < 0)
			return -1;
		if (c->dry_run && make && !fs_exists(AT_FDCWD, path))
			continue;
		int fd = fs_open_dir(AT_FDCWD, path, e);
		if (fd < 0)
			return err_ctx(e, "--keys '%s'", path);
		k->keys_fd[k->keys_n++] = fd;
	}
	return 0;
}

static int open_kept(struct cmd_context *c, const struct tuf_args *a, bool make, struct kept *k, struct err *e)
{
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	const char *dir = a->words.v[1];
	k->dir_fd = make ? fs_open_dir_make(AT_FDCWD, dir, e) : fs_open_dir(AT_FDCWD, dir, e);
	if (k->dir_fd < 0 || open_keys(c, a, make, k, e) < 0)
		return -1;
	o.dir_fd = k->dir_fd;
	o.keys_fd = k->keys_fd, o.keys_n = k->keys_n;
	o.clock = tuf_clock(a, &k->fake);
	o.dry_run = c->dry_run;
	cmd_passphrase_init(&k->old, a->passphrase_file);
	o.passphrase = &k->old.tuf;
	return tuf_keeper_open(&o, &k->keeper, e) < 0 ? err_ctx(e, "repository '%s'", dir) : 0;
}

/* A new key; --encrypt: all new ones of a command with one passphrase. */
static int make_key(struct cmd_context *c, const struct tuf_args *a, struct kept *k, enum tuf_key_type type, int fd,
		    struct tuf_public_key *ret, struct err *e)
{
	if (!a->encrypt)
		return tuf_key_make(type, fd, &c->arena, ret, e);
	cmd_passphrase_init(&k->fresh, a->passphrase_file);
	k->fresh.twice = true;
	if (!k->passphrase.n && cmd_passphrase_ask(&k->fresh, "the new key", &k->passphrase, e) < 0)
		return -1;
	return tuf_key_make_encrypted(type, buf_str(&k->passphrase), fd, &c->arena, ret, e);
}

static int need_keys(const struct tuf_args *a, struct err *e)
{
	return a->keys.n ? 0
			 : err_new(e, ERR_USAGE, "which keys? say it with --keys DIR: the folder of the private keys");
}

/* -- what was signed ------------------------------------------------------------------------------------------------------- */

void tuf_put_signed(struct jw *w, const struct tuf_commit *done)
{
	jw_key(w, "signed");
	jw_array(w);
	for (size_t i = 0; i < done->n; i++) {
		const struct tuf_signed *s = &done->v[i];
		auto_buf expires = BUF_INIT(64);
		clock_put_iso(&expires, s->expires_ms);
		jw_object(w);
		jw_kv_str(w, "role", s->role);
		jw_kv_int(w, "version", s->version);
		jw_kv_str(w, "expires", buf_str(&expires));
		jw_kv_int(w, "signatures", s->signatures);
		jw_kv_int(w, "threshold", s->threshold);
		jw_kv_bool(w, "staged", s->staged);
		jw_object_end(w);
	}
	jw_array_end(w);
}

void tuf_say_signed(struct cmd_context *c, const struct tuf_commit *done)
{
	for (size_t i = 0; i < done->n; i++) {
		const struct tuf_signed *s = &done->v[i];
		auto_buf expires = BUF_INIT(64);
		clock_put_iso(&expires, s->expires_ms);
		if (!s->staged)
			cmd_say(c, "%s%.*s: version %" PRId64 ", good until %s", c->dry_run ? "would sign " : "",
				STR_ARG(s->role), s->version, expires.p);
		else if (s->signatures < s->threshold)
			cmd_say(c,
				"%.*s: version %" PRId64 " has %" PRId64 " of %" PRId64
				" signatures; 'slipway tuf sign' with the other keys completes it",
				STR_ARG(s->role), s->version, s->signatures, s->threshold);
		else
			cmd_say(c, "%.*s: version %" PRId64 " is signed and waits for the others", STR_ARG(s->role),
				s->version);
	}
	if (!done->n)
		cmd_say(c, "nothing changed, and nothing expires soon");
}

static int commit(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *operation,
		  struct tuf_commit *done, struct err *e)
{
	auto_answer answer = {0};
	if (tuf_keeper_commit(k->keeper, &c->arena, done, e) < 0)
		return err_ctx(e, "repository '%s'", a->words.v[1]);
	if (!c->dry_run && done->n)
		cmd_changed(c);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "repository", a->words.v[1]);
	tuf_put_signed(w, done);
	jw_key(w, "new_keys");
	jw_array(w);
	vec_foreach(key, &k->made)
		jw_str(w, key->keyid);
	jw_array_end(w);
	if (c->json)
		return cmd_answer_print(c, &answer);
	tuf_say_signed(c, done);
	return CMD_OK;
}

/* -- keys ------------------------------------------------------------------------------------------------------------------- */

static int type_of(const char *text, enum tuf_key_type *ret, struct err *e)
{
	bool ed = strcmp(text, "ed25519") == 0;
	if (!ed && strcmp(text, "ecdsa") != 0)
		return err_new(e, ERR_USAGE, "--type wants ed25519 or ecdsa, not '%s'", text);
	*ret = ed ? TUF_ED25519 : TUF_ECDSA_P256;
	return 0;
}

int tuf_key(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	auto_buf b = BUF_INIT(KEY_FILE_MAX);
	auto_answer answer = {0};
	enum tuf_key_type type;
	struct tuf_public_key key = {STR("none yet"), STR("null")};
	if (need_keys(a, e) < 0 || type_of(a->type, &type, e) < 0 || open_keys(c, a, true, &k, e) < 0)
		return -1;
	if (!c->dry_run && make_key(c, a, &k, type, k.keys_fd[0], &key, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s '%s/%.*s.pem'", c->dry_run ? "would make" : "made", folder_of(a->keys.v[0]), STR_ARG(key.keyid));
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_c(w, "operation", "key");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_str(w, "keyid", key.keyid);
		jw_key(w, "public");
		jw_raw(w, key.json);
		return cmd_answer_print(c, &answer);
	}
	buf_put_str(&b, key.json);
	buf_put_char(&b, '\n');
	return c->dry_run ? CMD_OK : cmd_print(c, &b);
}

static int read_public(struct cmd_context *c, const char *path, struct tuf_public_key *ret, struct err *e)
{
	auto_buf b = BUF_INIT(KEY_FILE_MAX);
	if (fs_read_any(AT_FDCWD, path, &b, e) < 0)
		return -1;
	return tuf_key_parse(&c->arena, buf_str(&b), path, ret, e);
}

VEC_TYPE(public_keys, struct tuf_public_key);

static int make_keys(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *role, int64_t n,
		     struct public_keys *to, struct err *e)
{
	enum tuf_key_type type;
	ptrdiff_t at = -1;
	if (type_of(a->type, &type, e) < 0)
		return -1;
	for (size_t i = 0; i < a->keys.n; i++) /* the folder for that role, else the first for all */
		if (value_for(a->keys.v[i], role, false) || (at < 0 && value_for(a->keys.v[i], role, true)))
			at = (ptrdiff_t)i;
	if (at < 0 && n > 0)
		return err_new(e, ERR_USAGE, "no folder for the keys of '%s'; say it with --keys %s=DIR", role, role);
	for (int64_t i = 0; i < n; i++) {
		struct tuf_public_key key;
		if (to->n >= KEYS_MAX)
			return err_new(e, ERR_LIMIT, "at most %d keys for a role", KEYS_MAX);
		if (make_key(c, a, k, type, k->keys_fd[at], &key, e) < 0)
			return -1;
		cmd_changed(c);
		vec_push(to, key);
		vec_push(&k->made, key);
	}
	return 0;
}

/* -- create -------------------------------------------------------------------------------------------------------------------- */

static int plan_role(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *role, struct err *e)
{
	struct public_keys keys = {0};
	struct tuf_role_plan p = {.threshold = 1};
	int64_t n = -1;
	int rc = 0;
	for (size_t i = 0; i < a->key.n && rc == 0; i++) {
		const char *file = value_for(a->key.v[i], role, false);
		struct tuf_public_key key;
		if (file && (rc = read_public(c, file, &key, e)) == 0)
			vec_push(&keys, key);
	}
	if (rc == 0)
		rc = number_for(&a->new_keys, "new-keys", role, false, &n, e);
	if (rc == 0)
		rc = number_for(&a->threshold, "threshold", role, false, &p.threshold, e);
	if (rc == 0)
		rc = number_for(&a->expires, "expires", role, false, &p.expiry_days, e);
	if (rc == 0)
		rc = make_keys(c, a, k, role, n >= 0 ? n : keys.n ? 0 : p.threshold, &keys, e);
	p.key = keys.v, p.key_n = keys.n;
	if (rc == 0)
		rc = tuf_keeper_role(k->keeper, str_c(role), &p, e);
	vec_release(&keys);
	return rc;
}

static int check_create(const struct tuf_args *a, struct err *e)
{
	return need_keys(a, e) < 0 || check_roles(&a->key, "key", e) < 0 ||
			       check_roles(&a->new_keys, "new-keys", e) < 0 ||
			       check_roles(&a->threshold, "threshold", e) < 0 ||
			       check_roles(&a->expires, "expires", e) < 0
		       ? -1
		       : 0;
}

static int would(struct cmd_context *c, const struct tuf_args *a, const char *operation, const char *what)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", true);
	jw_kv_c(w, "repository", a->words.v[1]);
	if (c->json)
		return cmd_answer_print(c, &answer);
	cmd_say(c, "would %s '%s'", what, a->words.v[1]);
	return CMD_OK;
}

int tuf_create(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct tuf_commit done;
	struct tuf_role_plan there;
	if (check_create(a, e) < 0)
		return -1;
	if (c->dry_run)
		return would(c, a, "create", "make keys, and with them a repository in");
	if (open_kept(c, a, true, &k, e) < 0 || tuf_keeper_plan(k.keeper, STR("root"), &there, e) < 0)
		return -1;
	if (there.threshold)
		return err_new(e, ERR_EXISTS, "'%s' is a repository already; 'slipway tuf show' tells of it",
			       a->words.v[1]);
	for (size_t i = 0; i < sizeof(top_roles) / sizeof(top_roles[0]); i++)
		if (plan_role(c, a, &k, top_roles[i], e) < 0)
			return -1;
	return commit(c, a, &k, "create", &done, e);
}

/* -- targets --------------------------------------------------------------------------------------------------------------------- */

VEC_TYPE(files, struct tuf_file);

static int set_targets(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *operation,
		       const struct tuf_file *v, size_t n, struct err *e)
{
	struct tuf_commit done;
	if (tuf_keeper_set_targets(k->keeper, str_c(a->role), v, n, e) < 0)
		return -1;
	if (a->target_dir && a->from && !c->dry_run) { /* files before what names them */
		auto_fd tree = fs_open_dir(AT_FDCWD, a->from, e);
		auto_fd to = tree < 0 ? -1 : fs_open_dir_make(AT_FDCWD, a->target_dir, e);
		if (to < 0 || tuf_files_place(tree, v, n, to, e) < 0)
			return -1;
	}
	return commit(c, a, k, operation, &done, e);
}

static int need_from(const struct tuf_args *a, struct err *e)
{
	return a->from ? 0 : err_new(e, ERR_USAGE, "from where? say it with --from FOLDER: the folder of the files");
}

/* Folders of the repository's own that may lie below the tree: "tuf/metadata", as paths in it; "" where they do not. */
struct own {
	struct str metadata, targets;
};

static struct str below(struct arena *a, const char *tree, const char *path)
{
	auto_free char *top = realpath(tree, NULL), *full = path ? realpath(path, NULL) : NULL;
	struct str rest = str_c(full);
	if (!top || !full || !str_take_str(&rest, str_c(top)) || !str_take_char(&rest, '/'))
		return STR("");
	return arena_str(a, rest);
}

static bool is_below(struct str path, struct str folder)
{
	return folder.n && str_take_str(&path, folder) && str_take_char(&path, '/');
}

static bool is_not_own(void *ctx, const char *path)
{
	const struct own *o = ctx;
	return !is_below(str_c(path), o->metadata) && !is_below(str_c(path), o->targets);
}

int tuf_publish(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct tuf_file *v;
	size_t n;
	if (need_keys(a, e) < 0 || need_from(a, e) < 0 || open_kept(c, a, false, &k, e) < 0)
		return -1;
	struct own own = {below(&c->arena, a->from, a->words.v[1]), below(&c->arena, a->from, a->target_dir)};
	auto_fd tree = fs_open_dir(AT_FDCWD, a->from, e);
	if (tree < 0 || tuf_files_of(tree, is_not_own, &own, &c->arena, &v, &n, e) < 0)
		return -1;
	return set_targets(c, a, &k, "publish", v, n, e);
}

struct wanted {
	const struct tuf_args *a;
	size_t found;
};

static bool is_named(const struct tuf_args *a, struct str path)
{
	for (size_t i = 2; i < a->words.n; i++)
		if (str_eq_c(path, a->words.v[i]))
			return true;
	return false;
}

static bool want(void *ctx, const char *path)
{
	struct wanted *w = ctx;
	bool named = is_named(w->a, str_c(path));
	w->found += named;
	return named;
}

/* What the role lists, but for what the words name. */
static int others(struct cmd_context *c, const struct tuf_args *a, struct kept *k, struct files *ret, struct err *e)
{
	struct tuf_file *old;
	size_t n;
	if (tuf_keeper_targets(k->keeper, str_c(a->role), &c->arena, &old, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!is_named(a, old[i].path))
			vec_push(ret, old[i]);
	return 0;
}

static int add(struct cmd_context *c, const struct tuf_args *a, struct kept *k, struct files *all, struct err *e)
{
	struct wanted w = {.a = a};
	struct tuf_file *v;
	size_t n;
	auto_fd tree = fs_open_dir(AT_FDCWD, a->from, e);
	if (tree < 0 || tuf_files_of(tree, want, &w, &c->arena, &v, &n, e) < 0)
		return -1;
	if (w.found < a->words.n - 2)
		return err_new(e, ERR_NOT_FOUND, "not each of these files is in '%s'", a->from);
	if (a->target_dir && !c->dry_run) {
		auto_fd to = fs_open_dir_make(AT_FDCWD, a->target_dir, e);
		if (to < 0 || tuf_files_place(tree, v, n, to, e) < 0)
			return -1;
	}
	if (others(c, a, k, all, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		vec_push(all, v[i]);
	return 0;
}

int tuf_add_target(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct files all = {0};
	struct tuf_commit done;
	if (need_keys(a, e) < 0 || need_from(a, e) < 0 || open_kept(c, a, false, &k, e) < 0)
		return -1;
	int rc = add(c, a, &k, &all, e);
	if (rc == 0)
		rc = tuf_keeper_set_targets(k.keeper, str_c(a->role), all.v, all.n, e);
	vec_release(&all);
	return rc < 0 ? -1 : commit(c, a, &k, "add-target", &done, e);
}

static int is_listed(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *path, struct err *e)
{
	struct tuf_file *v;
	size_t n;
	if (tuf_keeper_targets(k->keeper, str_c(a->role), &c->arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(v[i].path, path))
			return 0;
	return err_new(e, ERR_NOT_FOUND, "role '%s' does not list '%s'; nothing changed", a->role, path);
}

int tuf_remove_target(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct files all = {0};
	struct tuf_commit done;
	if (need_keys(a, e) < 0 || open_kept(c, a, false, &k, e) < 0)
		return -1;
	int rc = others(c, a, &k, &all, e);
	for (size_t i = 2; rc == 0 && i < a->words.n; i++)
		rc = is_listed(c, a, &k, a->words.v[i], e);
	if (rc == 0)
		rc = tuf_keeper_set_targets(k.keeper, str_c(a->role), all.v, all.n, e);
	vec_release(&all);
	return rc < 0 ? -1 : commit(c, a, &k, "remove-target", &done, e);
}

/* -- delegations, rotation --------------------------------------------------------------------------------------------------------- */

/* "linux-64": linux-64/\*, linux-64/\*\/\* and so on, as a pattern stays within its component. */
static void put_under(struct cmd_context *c, const char *folder, struct cmd_list *to)
{
	auto_buf b = BUF_INIT(1 << 16);
	size_t n = strlen(folder);
	while (n && folder[n - 1] == '/')
		n--;
	buf_put(&b, folder, n);
	for (int depth = 0; depth < UNDER_DEPTH; depth++) {
		buf_put_c(&b, b.n ? "/*" : "*");
		vec_push(to, arena_strdup(&c->arena, buf_str(&b)));
	}
}

/* Keys of --key, and new ones: `otherwise` as many where neither option says how many. */
static int gather(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *role, int64_t otherwise,
		  struct public_keys *keys, struct err *e)
{
	int64_t n = -1;
	for (size_t i = 0; i < a->key.n; i++) {
		struct tuf_public_key key;
		if (read_public(c, a->key.v[i], &key, e) < 0)
			return -1;
		vec_push(keys, key);
	}
	if (number_for(&a->new_keys, "new-keys", role, true, &n, e) < 0)
		return -1;
	return make_keys(c, a, k, role, n >= 0 ? n : a->key.n ? 0 : otherwise, keys, e);
}

static int delegate(struct cmd_context *c, const struct tuf_args *a, struct kept *k, struct cmd_list *paths,
		    struct public_keys *keys, struct err *e)
{
	const char *role = a->words.v[2];
	struct tuf_role_plan p = {.threshold = 1};
	for (size_t i = 0; i < a->path.n; i++)
		vec_push(paths, a->path.v[i]);
	for (size_t i = 0; i < a->under.n; i++)
		put_under(c, a->under.v[i], paths);
	struct str *path = arena_array(&c->arena, struct str, paths->n);
	for (size_t i = 0; i < paths->n; i++)
		path[i] = str_c(paths->v[i]);
	if (number_for(&a->threshold, "threshold", role, true, &p.threshold, e) < 0 ||
	    number_for(&a->expires, "expires", role, true, &p.expiry_days, e) < 0 ||
	    gather(c, a, k, role, p.threshold, keys, e) < 0)
		return -1;
	p.key = keys->v, p.key_n = keys->n;
	struct tuf_delegation d = {str_c(role), p, path, paths->n, a->terminating};
	return tuf_keeper_delegate(k->keeper, str_c(a->parent), &d, e);
}

int tuf_delegate(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct cmd_list paths = {0};
	struct public_keys keys = {0};
	struct tuf_commit done;
	if (need_keys(a, e) < 0)
		return -1;
	if (a->path.n + a->under.n == 0)
		return err_new(e, ERR_USAGE, "for which paths? say it with --path PATTERN or --under FOLDER");
	if (c->dry_run)
		return would(c, a, "delegate", "delegate to that role in");
	if (open_kept(c, a, false, &k, e) < 0)
		return -1;
	int rc = delegate(c, a, &k, &paths, &keys, e);
	vec_release(&paths);
	vec_release(&keys);
	return rc < 0 ? -1 : commit(c, a, &k, "delegate", &done, e);
}

static bool is_removed(const struct tuf_args *a, struct str keyid)
{
	for (size_t i = 0; i < a->remove.n; i++)
		if (str_eq_c(keyid, a->remove.v[i]))
			return true;
	return a->remove.n == 0;
}

static int change_keys(struct cmd_context *c, const struct tuf_args *a, struct kept *k, const char *role,
		       struct tuf_role_plan *p, struct public_keys *keys, struct err *e)
{
	size_t gone = 0;
	for (size_t i = 0; i < p->key_n; i++)
		if (is_removed(a, p->key[i].keyid))
			gone++;
		else
			vec_push(keys, p->key[i]);
	if (gone < a->remove.n)
		return err_new(e, ERR_NOT_FOUND,
			       "role '%s' does not have each of these keys; 'slipway tuf show' lists them", role);
	if (gather(c, a, k, role, (int64_t)gone, keys, e) < 0 ||
	    number_for(&a->threshold, "threshold", role, true, &p->threshold, e) < 0 ||
	    number_for(&a->expires, "expires", role, true, &p->expiry_days, e) < 0)
		return -1;
	p->key = keys->v, p->key_n = keys->n;
	return 0;
}

static bool is_top(const char *role)
{
	for (size_t i = 0; i < sizeof(top_roles) / sizeof(top_roles[0]); i++)
		if (strcmp(role, top_roles[i]) == 0)
			return true;
	return false;
}

static int rotate(struct cmd_context *c, const struct tuf_args *a, struct kept *k, struct public_keys *keys,
		  struct err *e)
{
	const char *role = a->words.v[2];
	struct tuf_delegation d;
	struct tuf_role_plan p;
	struct str parent;
	if (is_top(role)) {
		if (tuf_keeper_plan(k->keeper, str_c(role), &p, e) < 0 || change_keys(c, a, k, role, &p, keys, e) < 0)
			return -1;
		return tuf_keeper_role(k->keeper, str_c(role), &p, e);
	}
	if (tuf_keeper_delegation(k->keeper, str_c(role), &parent, &d, e) < 0 ||
	    change_keys(c, a, k, role, &d.role, keys, e) < 0)
		return -1;
	return tuf_keeper_delegate(k->keeper, parent, &d, e);
}

int tuf_rotate(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct public_keys keys = {0};
	struct tuf_commit done;
	if (need_keys(a, e) < 0)
		return -1;
	if (c->dry_run)
		return would(c, a, "rotate", "give that role other keys in");
	if (open_kept(c, a, false, &k, e) < 0)
		return -1;
	int rc = rotate(c, a, &k, &keys, e);
	vec_release(&keys);
	return rc < 0 ? -1 : commit(c, a, &k, "rotate", &done, e);
}

/* -- sign, renew ---------------------------------------------------------------------------------------------------------------------- */

int tuf_sign(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct tuf_commit done;
	if (need_keys(a, e) < 0 || open_kept(c, a, false, &k, e) < 0)
		return -1;
	return commit(c, a, &k, "sign", &done, e);
}

/* What nobody here can renew, and somebody has to. */
static void warn_of_expiry(struct cmd_context *c, const struct tuf_args *a, struct kept *k)
{
	const struct clock *clock = tuf_clock(a, &k->fake);
	int64_t soon_ms = clock->wall_ms(clock) + SOON_DAYS * (int64_t)86400 * 1000;
	struct tuf_role_status *v;
	size_t n;
	tuf_keeper_status(k->keeper, &c->arena, &v, &n);
	for (size_t i = 0; i < n; i++) {
		auto_buf expires = BUF_INIT(64);
		clock_put_iso(&expires, v[i].expires_ms);
		if (v[i].version && v[i].expires_ms < soon_ms && (int64_t)v[i].keys_here < v[i].threshold)
			cmd_warn(
				c,
				"%.*s expires at %s, and its keys are not here: 'slipway tuf renew %s %.*s --keys DIR' with them",
				STR_ARG(v[i].role), expires.p, a->words.v[1], STR_ARG(v[i].role));
	}
}

int tuf_renew(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	struct tuf_commit done;
	if (need_keys(a, e) < 0 || open_kept(c, a, false, &k, e) < 0)
		return -1;
	for (size_t i = 2; i < a->words.n; i++)
		if (tuf_keeper_renew(k.keeper, str_c(a->words.v[i]), e) < 0)
			return -1;
	int rc = commit(c, a, &k, "renew", &done, e);
	if (rc < 0)
		return -1;
	warn_of_expiry(c, a, &k);
	for (size_t i = 0; i < done.n && rc == CMD_OK && a->words.n > 2; i++)
		if (done.v[i].staged)
			return CMD_FAILED; /* it was told what is missing */
	return rc;
}

/* -- show -------------------------------------------------------------------------------------------------------------------------------- */

static void put_role(struct jw *w, const struct tuf_role_status *r)
{
	auto_buf expires = BUF_INIT(64);
	clock_put_iso(&expires, r->expires_ms);
	jw_object(w);
	jw_kv_str(w, "role", r->role);
	jw_kv_opt(w, "delegated_by", r->parent);
	jw_kv_int(w, "version", r->version);
	jw_key(w, "expires");
	if (r->version)
		jw_str(w, buf_str(&expires));
	else
		jw_null(w);
	jw_kv_int(w, "threshold", r->threshold);
	jw_kv_int(w, "keys", (int64_t)r->keys);
	jw_kv_int(w, "keys_here", (int64_t)r->keys_here);
	jw_kv_int(w, "targets", (int64_t)r->targets);
	jw_kv_int(w, "staged_version", r->staged_version);
	jw_kv_int(w, "staged_signatures", r->staged_signatures);
	jw_object_end(w);
}

static void show_role(struct buf *b, const struct tuf_role_status *r, int64_t now_ms)
{
	auto_buf expires = BUF_INIT(64);
	clock_put_table(&expires, r->expires_ms);
	buf_printf(b, "%-24.*s %7" PRId64 "  %-19s %s %4" PRId64 " of %-3zu %4zu %8zu", STR_ARG(r->role), r->version,
		   r->version ? expires.p : "-", r->version && r->expires_ms <= now_ms ? "expired" : "       ",
		   r->threshold, r->keys, r->keys_here, r->targets);
	if (r->staged_version)
		buf_printf(b, "  version %" PRId64 " waits: %" PRId64 " signatures", r->staged_version,
			   r->staged_signatures);
	buf_put_char(b, '\n');
}

static bool begun(const struct tuf_role_status *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].version || v[i].staged_version)
			return true;
	return false;
}

int tuf_show(struct cmd_context *c, struct tuf_args *a, struct err *e)
{
	auto_kept k = KEPT_INIT;
	auto_answer answer = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	struct tuf_role_status *v;
	size_t n;
	if (open_kept(c, a, false, &k, e) < 0)
		return -1;
	const struct clock *clock = tuf_clock(a, &k.fake);
	tuf_keeper_status(k.keeper, &c->arena, &v, &n);
	if (!begun(v, n))
		return err_new(e, ERR_NOT_FOUND,
			       "'%s' holds no signed metadata; 'slipway tuf create' makes a repository", a->words.v[1]);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "repository", a->words.v[1]);
	jw_key(w, "roles");
	jw_array(w);
	for (size_t i = 0; i < n; i++)
		put_role(w, &v[i]);
	jw_array_end(w);
	if (c->json)
		return cmd_answer_print(c, &answer);
	buf_put_c(&b, "ROLE                     VERSION  EXPIRES (UTC)               THRESHOLD   HERE  TARGETS\n");
	for (size_t i = 0; i < n; i++)
		show_role(&b, &v[i], clock->wall_ms(clock));
	return cmd_print(c, &b);
}
