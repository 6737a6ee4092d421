// SPDX-License-Identifier: Apache-2.0
/* Everything that is checked before anything changes; all findings at once, each with its cure. */
#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/vec.h"
#include "upgrade/run.h"

enum { MAX_NAMED = 5 };
#define RESERVE_BYTES ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)
#define RESERVE_INODES 10000

VEC_TYPE(check_vec, struct upgrade_check);

struct preflight {
	const struct upgrade_opts *o;
	const struct upgrade_request *q;
	struct env_info info; /* no name: a new environment */
	struct env_operation op;
	uint32_t to; /* the generation to activate, 0: not laid out yet */
	bool paired, activating;
	bool runs_services; /* one of the two generations has some */
	enum op_event event;
	struct arena *a;
	struct check_vec checks;
};

static void passed(struct preflight *p, const char *name)
{
	vec_push(&p->checks, ((struct upgrade_check){.name = str_c(name)}));
}

static void found(struct preflight *p, const char *name, const char *finding, const char *cure)
{
	vec_push(&p->checks,
		 ((struct upgrade_check){.name = str_c(name), .finding = str_c(finding), .cure = str_c(cure)}));
}

/* -- no operation ---------------------------------------------------------------------------------------------------- */

/* What the table of states says, as one finding among the others. Where nothing is under way nothing is in the way. */
static int check_idle(struct preflight *p, struct err *e)
{
	enum op_state s = OP_NONE, next;
	struct err refusal = ERR_INIT;
	if (p->op.id.n && op_state_parse(p->op.state, &s, e) < 0)
		return -1;
	if (s == OP_NONE || machine_next(s, p->event, p->o->env, &next, &refusal) == 0) {
		passed(p, UPGRADE_CHECK_IDLE);
		return 0;
	}
	const char *cure = strstr(refusal.msg, "; ");
	size_t n = cure ? (size_t)(cure - refusal.msg) : strlen(refusal.msg);
	found(p, UPGRADE_CHECK_IDLE, arena_printf(p->a, "%.*s", (int)n, refusal.msg),
	      cure ? arena_strdup(p->a, str_c(cure + 2)) : "");
	return 0;
}

/* -- install mode: what runs is what was laid out ------------------------------------------------------------------- */

struct changed_files {
	struct buf names;
	size_t n;
};

static void note_difference(void *ctx, const char *path, const char *what, const char *detail, struct str package)
{
	struct changed_files *c = ctx;
	(void)package, (void)detail;
	if (strcmp(what, "added") == 0) /* files of nobody are taken along */
		return;
	if (c->n++ < MAX_NAMED)
		buf_printf(&c->names, "%s'%s' (%s)", c->n > 1 ? ", " : "", path, what);
}

static int check_managed(struct preflight *p, struct err *e)
{
	struct changed_files c = {.names = BUF_INIT(16384)};
	if (!p->info.current || p->q->lays_out_anew || p->q->verb == UPGRADE_ROLLBACK)
		return 0;
	int64_t n = env_differences(p->o->state, p->o->env, 0, false, note_difference, &c, e);
	if (n >= 0 && c.n)
		found(p, UPGRADE_CHECK_MEDIA,
		      arena_printf(p->a, "%zu file%s changed by hand: %s%s", c.n, c.n == 1 ? " was" : "s were",
				   c.names.p, c.n > MAX_NAMED ? ", ..." : ""),
		      arena_printf(p->a, "'slipway env export -n %.*s | slipway apply - -n %.*s' lays it out anew",
				   STR_ARG(p->o->env), STR_ARG(p->o->env)));
	else if (n >= 0)
		passed(p, UPGRADE_CHECK_MEDIA);
	buf_release(&c.names);
	return n < 0 ? -1 : 0;
}

/* -- space ---------------------------------------------------------------------------------------------------------- */

static uint64_t unpacked_estimate(const struct env_plan *plan)
{
	uint64_t sum = 0;
	for (size_t i = 0; plan && i < plan->steps_n; i++)
		if (plan->steps[i].kind == ENV_STEP_DOWNLOAD)
			sum += plan->steps[i].size_bytes * 4; /* the archive, and what is in it */
	return sum;
}

uint64_t upgrade_reserve_bytes(const struct upgrade_opts *o)
{
	return o->reserve_bytes ? o->reserve_bytes : RESERVE_BYTES;
}

static int check_space(struct preflight *p, struct err *e)
{
	struct statvfs v;
	uint64_t reserve = upgrade_reserve_bytes(p->o);
	if (fstatvfs(p->o->root_fd, &v) < 0)
		return err_sys(e, "free space of '%s'", p->o->root_path);
	uint64_t available = (uint64_t)v.f_bavail * v.f_frsize, need = unpacked_estimate(p->q->plan) + reserve;
	if (available < need)
		found(p, "space",
		      arena_printf(p->a, "%llu MiB are free in '%s', %llu MiB are needed",
				   (unsigned long long)(available >> 20), p->o->root_path,
				   (unsigned long long)(need / MIB + (need % MIB != 0))),
		      arena_printf(p->a, "'slipway install remove inactive -n %.*s' and 'slipway store gc' make room",
				   STR_ARG(p->o->env)));
	else
		passed(p, "space");
	if (v.f_files && v.f_favail < RESERVE_INODES)
		found(p, "inodes",
		      arena_printf(p->a, "%llu inodes are free in '%s'", (unsigned long long)v.f_favail,
				   p->o->root_path),
		      "'slipway store gc' frees some");
	else
		passed(p, "inodes");
	return 0;
}

/* -- services and state --------------------------------------------------------------------------------------------- */

static bool can_read(const struct state_decl *s, struct str format)
{
	if (str_eq(s->format, format))
		return true;
	for (uint32_t i = 0; i < s->readable_n; i++)
		if (str_eq(s->readable[i], format))
			return true;
	return false;
}

static const struct state_decl *find_state(const struct component *c, size_t n, const struct state_decl *like)
{
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < c[i].states_n; k++)
			if (str_eq(c[i].states[k].component, like->component) &&
			    str_eq(c[i].states[k].name, like->name))
				return &c[i].states[k];
	return NULL;
}

/* The version that comes must be able to read what the one that runs has written. */
static void check_formats(struct preflight *p, const struct component *now, size_t now_n, const struct component *next,
			  size_t next_n)
{
	size_t before = p->checks.n;
	for (size_t i = 0; i < now_n; i++) {
		for (uint32_t k = 0; k < now[i].states_n; k++) {
			const struct state_decl *s = &now[i].states[k], *t = find_state(next, next_n, s);
			if (!t || can_read(t, s->format))
				continue;
			found(p, "state formats",
			      arena_printf(
				      p->a,
				      "'%.*s' of component '%.*s' is in format %.*s, which the new version cannot read",
				      STR_ARG(s->name), STR_ARG(s->component), STR_ARG(s->format)),
			      "upgrade by a version that reads both");
		}
	}
	if (p->checks.n == before)
		passed(p, "state formats");
}

/* -- which version may follow which --------------------------------------------------------------------------------- */

static struct str version_in(const struct env_spec_file *lock, struct str package)
{
	for (uint32_t i = 0; i < lock->packages_n; i++)
		if (str_eq(lock->packages[i].record.name, package))
			return lock->packages[i].record.version;
	return STR_NONE;
}

/* 1 where one of the specs has the version. */
static int versions_match(struct preflight *p, struct str package, const struct str *spec, uint32_t n,
			  struct str version, struct err *e)
{
	const struct version *v = pkg_conda.version_parse(p->a, version, e);
	for (uint32_t i = 0; v && i < n; i++) {
		const char *text = arena_printf(p->a, "%.*s %.*s", STR_ARG(package), STR_ARG(spec[i]));
		const struct spec *s = pkg_conda.spec_parse(p->a, str_c(text), SPEC_DEPENDENCY, e);
		if (!s)
			return -1;
		if (pkg_conda.spec_match_version(s, v, version))
			return 1;
	}
	return v ? 0 : -1;
}

static const char *list_of(struct preflight *p, const struct str *v, uint32_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? " or " : "", STR_ARG(v[i]));
	return n ? arena_strdup(p->a, buf_str(&b)) : "no other";
}

/* `newer` is of the version that is above the other one: it knows which ones below it may come from, and go back to. */
static int check_step(struct preflight *p, const struct component *newer, struct str above, struct str below, bool up,
		      struct err *e)
{
	const struct upgrade_decl *u = &newer->upgrades;
	struct str package = u->package.n ? u->package : newer->name;
	const struct str *list = up ? u->from : u->down;
	uint32_t n = up ? u->from_n : u->down_n;
	int rc = (up ? u->has_from : u->has_down) ? versions_match(p, package, list, n, below, e) : 1;
	if (rc < 0)
		return err_ctx(e, "'upgrades' of component '%.*s'", STR_ARG(newer->name));
	if (rc == 0)
		found(p, "version matrix",
		      up ? arena_printf(p->a, "'%.*s' %.*s can be reached from %s, and here is %.*s", STR_ARG(package),
					STR_ARG(above), list_of(p, list, n), STR_ARG(below))
			 : arena_printf(p->a, "from '%.*s' %.*s one can go down to %s, not to %.*s", STR_ARG(package),
					STR_ARG(above), list_of(p, list, n), STR_ARG(below)),
		      "go by a version between the two that allows both steps");
	return 0;
}

/* Each component of the newer version of its package, whichever way one goes. */
static int check_versions_of(struct preflight *p, const struct component *c, size_t n, const struct env_spec_file *its,
			     const struct env_spec_file *other, bool up, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct str package = c[i].upgrades.package.n ? c[i].upgrades.package : c[i].name;
		struct str mine = version_in(its, package), theirs = version_in(other, package);
		if ((!c[i].upgrades.has_from && !c[i].upgrades.has_down) || !mine.n || !theirs.n)
			continue;
		const struct version *x = pkg_conda.version_parse(p->a, mine, e);
		const struct version *y = x ? pkg_conda.version_parse(p->a, theirs, e) : NULL;
		if (!y)
			return -1;
		if (pkg_conda.version_cmp(x, y) > 0 && check_step(p, &c[i], mine, theirs, up, e) < 0)
			return -1;
	}
	return 0;
}

static int check_matrix(struct preflight *p, const struct component *now, size_t now_n, const struct component *next,
			size_t next_n, struct err *e)
{
	struct env_spec_file from, to;
	size_t before = p->checks.n;
	if (env_generation_lock(p->o->state, p->a, p->o->env, p->info.current, &from, e) < 0 ||
	    env_generation_lock(p->o->state, p->a, p->o->env, p->to, &to, e) < 0 ||
	    check_versions_of(p, next, next_n, &to, &from, true, e) < 0 ||
	    check_versions_of(p, now, now_n, &from, &to, false, e) < 0)
		return -1;
	if (p->checks.n == before)
		passed(p, "version matrix");
	return 0;
}

/* -- components ----------------------------------------------------------------------------------------------------- */

static int check_components(struct preflight *p, struct err *e)
{
	struct component *now = NULL, *next = NULL;
	size_t now_n = 0, next_n = 0, services = 0;
	const char *base = arena_printf(p->a, "%s/env/%.*s", p->o->root_path, STR_ARG(p->o->env));
	if ((p->info.current &&
	     component_read_all(p->a, arena_printf(p->a, "%s/%u", base, p->info.current), &now, &now_n, e) < 0) ||
	    (p->to && component_read_all(p->a, arena_printf(p->a, "%s/%u", base, p->to), &next, &next_n, e) < 0))
		return -1;
	for (size_t i = 0; i < next_n; i++)
		services += next[i].services_n;
	p->runs_services = services > 0;
	for (size_t i = 0; i < now_n; i++)
		p->runs_services |= now[i].services_n > 0;
	if (p->to)
		check_formats(p, now, now_n, next, next_n);
	if (p->to && p->info.current && check_matrix(p, now, now_n, next, next_n, e) < 0)
		return -1;
	if (services && p->info.started && !p->o->services)
		found(p, "services", "the environment's services are to run, and nothing here runs them",
		      arena_printf(p->a, "start 'slipway agent', or 'slipway stop %.*s' first", STR_ARG(p->o->env)));
	else
		passed(p, "services");
	return 0;
}

/* A member that does not come back after a boot leaves the other one alone with the half of an upgrade. On a host of its own nobody
 * waits for it; what does not come back are its services, and the timer. */
static int check_autostart(struct preflight *p, struct err *e)
{
	struct upgrade_check c = {.name = STR(UPGRADE_CHECK_AUTOBOOT), .advice = !p->paired};
	bool to_run = p->activating ||
		      p->q->verb == UPGRADE_ACTIVATE; /* not before, and not at each change in one go */
	if (!p->paired && (!to_run || p->q->operation || !p->runs_services))
		return 0;
	if (upgrade_autostart(p->o, p->a, &c.finding, &c.cure, e) < 0)
		return -1;
	vec_push(&p->checks, c);
	return 0;
}

static int check_deprecated(struct preflight *p, struct err *e)
{
	const struct run r = {.o = p->o, .q = p->q};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!p->to || !p->q->stop_at_deprecated)
		return 0;
	if (config_deprecated(&r, p->to, &b, e) < 0)
		return -1;
	if (b.n)
		found(p, "configuration", arena_printf(p->a, "%s", b.p),
		      "change them, or leave --stop-at-deprecated out");
	else
		passed(p, "configuration");
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int read_situation(struct preflight *p, struct err *e)
{
	if (env_find(p->o->state, p->a, p->o->env, &p->info, e) < 0)
		return -1;
	int rc = env_operation_get(p->o->state, p->a, p->o->env, &p->op, e);
	const struct json *j = rc > 0 && p->op.detail.n ? json_parse(p->a, p->op.detail, "state.db: operation", e)
							: NULL;
	if (rc < 0 || (rc > 0 && p->op.detail.n && !j) || (j && json_opt_bool(j, "paired", &p->paired, e) < 0))
		return -1;
	p->paired |= p->q->paired;
	if (p->q->verb != UPGRADE_ROLLBACK && (p->q->verb != UPGRADE_ADD || p->activating) && rc > 0)
		p->to = p->op.to;
	if (p->q->verb == UPGRADE_ROLLBACK)
		p->to = p->q->generation;
	return 0;
}

int upgrade_preflight(const struct upgrade_opts *o, const struct upgrade_request *q, struct arena *a,
		      struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	return run_preflight(o, q, false, a, ret, ret_n, e);
}

int run_preflight(const struct upgrade_opts *o, const struct upgrade_request *q, bool activating, struct arena *a,
		  struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	struct preflight p = {.o = o, .q = q, .a = a, .activating = activating, .event = run_event(q, activating)};
	int failed = 0, rc = read_situation(&p, e);
	bool added_now = q->verb == UPGRADE_ADD &&
			 activating; /* of one shot: these were asked before it was laid out */
	if (rc == 0)
		rc = check_idle(&p, e);
	if (rc == 0 && !added_now)
		rc = check_managed(&p, e) < 0 || (q->verb != UPGRADE_ROLLBACK && check_space(&p, e) < 0) ? -1 : 0;
	if (rc == 0)
		rc = check_components(&p, e) < 0 || check_autostart(&p, e) < 0 || check_deprecated(&p, e) < 0 ? -1 : 0;
	*ret = vec_copy(&p.checks, a);
	*ret_n = p.checks.n;
	vec_foreach(c, &p.checks)
		failed += c->finding.n > 0 && !c->advice;
	vec_release(&p.checks);
	return rc < 0 ? -1 : failed;
}
