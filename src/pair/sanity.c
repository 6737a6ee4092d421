// SPDX-License-Identifier: Apache-2.0
/* Stage 0: everything that is checked before anything changes, on both members, all findings at once. */
#include "base/vec.h"
#include "pair/coordinate.h"

VEC_TYPE(check_vec, struct upgrade_check);

struct sanity {
	struct coordinator *k;
	const struct upgrade_request *q;
	struct check_vec found; /* findings alone */
	VEC(struct str) names;	/* of the members' own checks, each once */
	bool silent;		/* findings alone are told */
	bool hot;		/* that the standby is, is asked, too */
};

static void verified(struct sanity *s, const char *name)
{
	bool passed = true;
	vec_foreach(f, &s->found)
		passed &= !str_eq_c(f->name, name);
	if (!s->silent || !passed)
		coordinate_tell(s->k, UPGRADE_EVENT_MEMBER, 0, 0, passed,
				arena_printf(&s->k->arena, "Verifying %s", name), NULL);
}

/* A member's own check that is made of both, too; "managed environment" and "autostart" are what an older agent calls two of them.
 * NULL: it is none. */
static const char *name_here(struct str name)
{
	bool is_media = str_eq(name, STR(PAIR_CHECK_MEDIA)) || str_eq(name, STR("managed environment"));
	bool is_autoboot = str_eq(name, STR(PAIR_CHECK_AUTOBOOT)) || str_eq(name, STR("autostart"));
	return is_media ? PAIR_CHECK_MEDIA : is_autoboot ? PAIR_CHECK_AUTOBOOT : NULL;
}

/* Those that each member makes for itself. */
static int ask_member(struct sanity *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	struct upgrade_check *c;
	size_t count;
	if (k->m[n]->ops->preflight(k->m[n], s->q, &k->arena, &c, &count, e) < 0)
		return member_err(n, e);
	for (size_t i = 0; i < count; i++) {
		const char *ours = name_here(c[i].name);
		bool known = ours != NULL;
		vec_foreach(name, &s->names)
			known |= str_eq(*name, c[i].name);
		if (!known)
			vec_push(&s->names, c[i].name);
		struct upgrade_check f = c[i];
		f.name = ours ? str_c(ours) : f.name;
		f.member = n;
		if (f.finding.n && !f.advice)
			vec_push(&s->found, f);
	}
	return 0;
}

/* Those that are made of what the members say of themselves. What they are asked for in full is left to their own answer. */
static void compare_members(struct sanity *s, bool asked)
{
	struct coordinator *k = s->k;
	struct pair_status both = {.role = k->role};
	struct upgrade_check *c;
	size_t n;
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		both.member[i] = k->st[i];
		both.member[i].managed = true;
		both.member[i].autostart |= asked;
	}
	(void)pair_checks(&both, k->env, &k->arena, &c, &n);
	for (size_t i = 0; i < n; i++)
		if (pair_check_counts(&both, &c[i], s->q)) {
			s->hot |= str_eq(c[i].name, STR(PAIR_CHECK_HOT));
			if (c[i].finding.n)
				vec_push(&s->found, c[i]);
		}
}

/* -- all of them ------------------------------------------------------------------------------------------------------ */

static int refuse(struct sanity *s, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	vec_foreach(f, &s->found) {
		buf_put_c(&b, "\n  ");
		if (f->member)
			buf_printf(&b, "member %u: ", f->member);
		buf_printf(&b, "%.*s: %.*s; %.*s", STR_ARG(f->name), STR_ARG(f->finding), STR_ARG(f->cure));
	}
	return s->found.n ? err_new(e, ERR_FAILED, "%zu check%s failed, nothing changed%s", s->found.n,
				    s->found.n == 1 ? "" : "s", b.p)
			  : 0;
}

static int check_all(struct sanity *s, struct err *e)
{
	struct coordinator *k = s->k;
	bool ask = s->q->verb == UPGRADE_ADD || s->q->verb == UPGRADE_ACTIVATE;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (coordinate_look(k, n, e) < 0)
			return err_ctx(e, "nothing changed");
	compare_members(s, ask);
	for (uint32_t n = 1; ask && n <= PAIR_MEMBERS; n++)
		if (ask_member(s, n, e) < 0)
			return -1;
	verified(s, PAIR_CHECK_SUPPORTED);
	if (s->hot)
		verified(s, PAIR_CHECK_HOT);
	verified(s, PAIR_CHECK_MEDIA);
	verified(s, PAIR_CHECK_AUTOBOOT);
	vec_foreach(name, &s->names)
		verified(s, arena_strdup(&k->arena, *name));
	return refuse(s, e);
}

int coordinate_sanity(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	struct sanity s = {.k = k, .q = q, .silent = q->verb == UPGRADE_ADD};
	if (!s.silent)
		coordinate_tell(k, UPGRADE_EVENT_STAGE, 0, 0, false, "Initial System Level Sanity Check", NULL);
	int rc = check_all(&s, e);
	if (!s.silent && rc == 0)
		coordinate_tell(k, UPGRADE_EVENT_FINISH, 0, 0, true, "Initial System Level Sanity Check", NULL);
	vec_release(&s.found);
	vec_release(&s.names);
	return rc;
}
