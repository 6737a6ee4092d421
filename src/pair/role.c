// SPDX-License-Identifier: Apache-2.0
#include "pair/role.h"

#include "base/fs.h"
#include "base/json.h"
#include "pair/trust.h"

enum { MAX_FILE = 64 << 10, MAX_REASON = 1024, MAX_AHEAD = 1 << 20 };
#define MAX_EPOCH ((uint64_t)1 << 53) /* there is always a next one */
const char *const role_drained_keys[PAIR_MEMBERS + 1] = {NULL, "drained_1", "drained_2"};
#define FILE_NAME "pair/role"

static int read_member(const struct json *j, uint32_t *ret, struct err *e)
{
	int64_t active;
	if (json_get_int(j, "active", &active, e) < 0)
		return -1;
	if (active < 1 || active > PAIR_MEMBERS)
		return err_new(e, ERR_INPUT, "%s: 'active' must be 1 or 2", j->where);
	*ret = (uint32_t)active;
	return 0;
}

static int read_count(const struct json *j, const char *key, uint64_t *ret, struct err *e)
{
	int64_t n = 0;
	if (json_opt_int(j, key, &n, e) < 0)
		return -1;
	if (n < 0)
		return err_new(e, ERR_INPUT, "%s: '%s' must not be negative", j->where, key);
	*ret = (uint64_t)n;
	return 0;
}

static int read_epoch(const struct json *j, uint64_t *ret, struct err *e)
{
	if (read_count(j, "epoch", ret, e) < 0)
		return -1;
	return *ret <= MAX_EPOCH
		       ? 0
		       : err_new(e, ERR_INPUT, "%s: 'epoch' is more than there can be switch-overs", j->where);
}

static int read_drained(const struct json *j, struct pair_role *ret, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct str env = STR_NONE;
		if (json_opt_str(j, role_drained_keys[n], &env, e) < 0 || (env.n && env_name_check(env, e) < 0))
			return -1;
		ret->drained[n] = env;
	}
	return 0;
}

static int parse(struct arena *a, struct str text, struct pair_role *ret, struct err *e)
{
	const struct json *j = json_parse(a, text, FILE_NAME, e);
	if (!j || read_member(j, &ret->active, e) < 0 || read_epoch(j, &ret->epoch, e) < 0 ||
	    read_count(j, "switch_overs", &ret->switch_overs, e) < 0 ||
	    read_count(j, "standby_failures", &ret->standby_failures, e) < 0 ||
	    json_opt_int(j, "since_ms", &ret->since_ms, e) < 0 || json_opt_str(j, "reason", &ret->reason, e) < 0 ||
	    read_drained(j, ret, e) < 0)
		return -1;
	return 0;
}

int role_read(int root_fd, struct arena *a, struct pair_role *ret, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_FILE);
	struct err gone = ERR_INIT;
	*ret = (struct pair_role){.active = 1};
	int rc = fs_read(root_fd, FILE_NAME, &b, &gone);
	if (rc < 0 && gone.code == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		*e = gone;
	if (rc == 0 && parse(a, arena_str(a, buf_str(&b)), ret, e) == 0)
		return 0;
	return err_ctx(e,
		       "what this member knows of who carries the traffic cannot be read; the other member's copy of "
		       "the file mends it");
}

bool role_is_beyond(uint64_t epoch, uint64_t other)
{
	return epoch > other && epoch - other > MAX_AHEAD;
}

static int check(int root_fd, const struct pair_role *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pair_role before;
	if (r->active < 1 || r->active > PAIR_MEMBERS || r->epoch > MAX_EPOCH || r->switch_overs > INT64_MAX ||
	    r->standby_failures > INT64_MAX || r->reason.n > MAX_REASON)
		return err_new(e, ERR_INPUT, "this is no role of a member");
	struct err damaged = ERR_INIT;
	if (role_read(root_fd, &a, &before, &damaged) < 0) {
		if (damaged.code != ERR_INPUT) {
			*e = damaged;
			return -1;
		}
		return 0; /* it says nothing that this could be older than */
	}
	/* Each switch-over is one more: what is too far ahead cannot be, and would leave no room for those to come. */
	if (role_is_beyond(before.epoch, r->epoch))
		return 0;
	if (r->epoch < before.epoch || (r->epoch == before.epoch && r->active != before.active))
		return err_new(
			e, ERR_FAILED,
			"member %u carries the traffic since switch-over %llu, which this member knows of; %llu is "
			"older",
			before.active, (unsigned long long)before.epoch, (unsigned long long)r->epoch);
	if (role_is_beyond(r->epoch, before.epoch))
		return err_new(e, ERR_INPUT,
			       "switch-over %llu cannot be: the last one that this member knows of is %llu",
			       (unsigned long long)r->epoch, (unsigned long long)before.epoch);
	return 0;
}

int role_write(int root_fd, const struct pair_role *r, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_FILE);
	struct jw w = JW_INIT(&b, 0);
	auto_fd lock = trust_lock(root_fd, e); /* nobody writes between the look and the file */
	if (lock < 0 || check(root_fd, r, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_int(&w, "epoch", (int64_t)r->epoch);
	jw_kv_int(&w, "active", r->active);
	jw_kv_int(&w, "since_ms", r->since_ms);
	jw_kv_str(&w, "reason", r->reason);
	jw_kv_int(&w, "switch_overs", (int64_t)r->switch_overs);
	jw_kv_int(&w, "standby_failures", (int64_t)r->standby_failures);
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (r->drained[n].n)
			jw_kv_str(&w, role_drained_keys[n], r->drained[n]);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return fs_replace(root_fd, FILE_NAME, b.p, b.n, FS_REPLACE_SYNC, e);
}

int role_lock(int root_fd, int64_t wait_ms, struct err *e)
{
	if (fs_mkdirs(root_fd, "pair", 0755, e) < 0)
		return -1;
	int fd = fs_lock(root_fd, "pair/role.lock", wait_ms, e);
	return fd < 0 ? err_ctx(e, "the traffic is being moved for another environment") : fd;
}

int pair_drained(int root_fd, struct arena *a, struct str ret[PAIR_MEMBERS + 1], struct err *e)
{
	struct pair_role r;
	struct pair p;
	int joined = pair_read(root_fd, a, &p, e);
	if (joined < 0 || (joined && p.joined && role_read(root_fd, a, &r, e) < 0))
		return -1;
	for (uint32_t n = 0; n <= PAIR_MEMBERS; n++)
		ret[n] = joined && p.joined ? r.drained[n] : STR_NONE;
	return 0;
}
