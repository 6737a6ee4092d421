// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * solve: indexes + specs → the packages to install, or why there are none. Pure: no I/O, no clock.
 *
 * A conflict-driven clause-learning solver over the ids of the mapped indexes. Candidates are brought in only when their
 * name is reached. It decides in the ecosystem's order of preference, so the first solution found is the preferred one.
 *
 *	struct solve_request r = SOLVE_REQUEST_INIT;
 *	r.indexes = indexes; r.indexes_n = n; r.specs = specs; r.specs_n = k;
 *	struct solve_result res;
 *	int rc = solve(&r, &arena, &res, e);         0 solved, 1 no solution (res.explanation), -1 error
 *
 * Preference among candidates of one name: what is installed already and still fits (update mode decides); no
 * track_features before some; [flexible priority] channel rank; version descending; build number descending; the one
 * whose dependencies allow the highest versions; timestamp descending. Strict priority (the default): only the first
 * channel that has the name is looked at; a spec that names a channel takes its package from there alone.
 *
 * Specs keep their order: the first gets the best candidate there is, the second the best that goes with the first, and so
 * on. Dependencies with a condition (CEP 43) and groups of optional ones (CEP 44) count where they are met or asked for.
 *
 * Without a solution, res.explanation tells which specs cannot be had together and what is in the way, in some 25 lines at
 * most, and res.suggestions what would work: each was solved before it is suggested.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "channel/channel.h"
#include "pkg/pkg.h"

enum solve_priority { SOLVE_STRICT, SOLVE_FLEXIBLE, SOLVE_DISABLED };
enum solve_strategy { SOLVE_HIGHEST, SOLVE_LOWEST, SOLVE_LOWEST_DIRECT };

struct solve_request {
	const struct channel_index *indexes; /* channel-major, best channel first; entries without an index are skipped */
	size_t indexes_n;
	const struct pkg_record *virtuals; /* virtual packages of the host */
	size_t virtuals_n;
	const struct str *specs; /* what was asked for */
	size_t specs_n;
	const struct str *constraints; /* must hold for what is installed, but ask for nothing (pins) */
	size_t constraints_n;
	const struct pkg_record *installed; /* of the environment to be changed; kept where the specs allow */
	size_t installed_n;
	const struct str *update_names; /* names not held at what is installed; update_all: none is */
	size_t update_names_n;
	bool update_all;
	enum solve_priority priority;
	enum solve_strategy strategy;
	int64_t exclude_newer_ms; /* ignore packages with a later timestamp; 0: none */
	uint64_t max_conflicts;	  /* gives up with ERR_LIMIT; 0: 500,000, half a minute */
};
#define SOLVE_REQUEST_INIT ((struct solve_request){0})

struct solve_package {
	struct pkg_record record; /* full, views live as long as arena and indexes */
	uint32_t index;		  /* which of request.indexes; UINT32_MAX for an installed one that no index has */
	struct ix_pkg pkg;
	bool requested;		 /* named by a spec */
	struct str requested_by; /* that spec */
};

/* Why there is no solution, as a tree to print: short, in the words of the specs. */
struct solve_reason {
	struct str text; /* "numpy 1.26.* needs python >=3.9,<3.13, but python=3.8 was asked for" */
	const struct solve_reason *child;
	uint32_t child_n;
};

struct solve_result {
	struct solve_package *packages; /* in link order: what a package needs comes before it; ties by name */
	size_t packages_n;
	struct solve_reason explanation; /* for no solution: root's children are the top-level conflicts */
	const struct str *suggestions; /* nearest changes that would work, as text ("python=3.9 instead of python=3.8") */
	uint32_t suggestions_n;
	struct { /* for --verbose and tests */
		uint64_t names, candidates, clauses, decisions, conflicts, learnt;
	} stats;
};
int solve(const struct solve_request *r, struct arena *a, struct solve_result *ret, struct err *e);
/* Appends the explanation as an indented tree and the suggestions. */
void solve_explain(const struct solve_result *r, struct buf *b);

/* A solve as a file that replays offline (doc/formats/solve-test.md): only what was reached, records and all. */
int solve_dump(const struct solve_request *r, const struct solve_result *res, int rc, struct buf *b, struct err *e);
/* Reads such a file: builds indexes in `dirfd` and a request; `expect` is what the file says should come out, or NULL. */
struct solve_replay;
int solve_replay_load(struct str text, const char *where, int dirfd, struct solve_replay **ret, struct err *e);
const struct solve_request *solve_replay_request(const struct solve_replay *r);
const struct json *solve_replay_expect(const struct solve_replay *r);
void solve_replay_free(struct solve_replay *r);
DEFINE_AUTO(struct solve_replay *, solve_replay, solve_replay_free);

/* "why": the chains of requirements that lead from specs to a package among these records. Each chain is printed as text,
 * shortest first, at most max. */
int solve_why(const struct pkg_record *records, size_t n, const struct str *specs, size_t specs_n, struct str name,
	      unsigned max, struct arena *a, const struct str **ret, size_t *ret_n, struct err *e);

/*
 * The same engine for packages whose needs their channel tells (channel.h, section 8: deb, rpm, opam): what a host that has nothing
 * yet would install for these. The first asked for gets the best there is; what is wished for comes where it can be had.
 *
 *	int rc = solve_needs(needs, asked, n, max_conflicts, &arena, &res, e);	0 solved, 1 no solution (res.why), -1 error
 */
/*
 * What is in the way, by criteria: chains of names from what was asked for (or from the invariant), each with the versions that its needs
 * allow ("lib >= 2"; as opam's shortest formula among all versions that there are).
 */
enum solve_conflict_kind {
	SOLVE_DISAGREE,	    /* two chains end in different versions of `name` */
	SOLVE_INCOMPATIBLE, /* two chains end in packages that cannot be installed together */
	SOLVE_MISSING,	    /* the end of one chain cannot be had */
};
enum solve_lack { SOLVE_LACK_NAME, SOLVE_LACK_VERSION, SOLVE_LACK_HERE };
struct solve_chain {
	bool invariant; /* it begins there */
	const struct str *link;
	size_t n;
};
struct solve_conflict {
	enum solve_conflict_kind kind;
	struct str name;
	struct solve_chain chain[2];
	size_t chains;
	enum solve_lack lack;	      /* MISSING: there is no such name, no such version, or none for this host: */
	struct str available, pinned; /* its filter; or the version that it is pinned to */
	bool several;		      /* that of the best of several */
};
/* As opam tells it, without the bullet: lines are joined by "\n    ". `first_of_invariant`: none that was told before speaks of the invariant. */
void solve_conflict_in_opam(const struct solve_conflict *c, bool first_of_invariant, struct buf *b);

struct solve_needs_result {
	const uint32_t *package; /* as the needs number them, ascending */
	size_t n;
	const struct str *why; /* without a solution: what is in the way, a line each */
	size_t why_n;
	const struct solve_conflict *conflict; /* the same in parts; none from solve_needs */
	size_t conflicts_n;
	bool unproved; /* by criteria: it is a solution, but there was no time to show that it is the best */
	uint64_t conflicts, variables;
};
/* max_conflicts 0: 100,000. */
int solve_needs(struct channel_needs *needs, const struct str *asked, size_t n, uint64_t max_conflicts, struct arena *a,
		struct solve_needs_result *ret, struct err *e);

/*
 * The same by criteria (opam's), for a host that has something installed (channel_needs_opts.installed):
 *
 *	SOLVE_FIRST	what solve_needs does: the newest of each in the order in which names come up; nothing is kept
 *	SOLVE_0INSTALL	-changed,-count[avoid-version,solution], as 0install goes: depth first, alternatives as they are written,
 *			the best version of each that can still be had; what is installed goes before what was asked for
 *	SOLVE_OLDEST	+removed,+count[version-lag,solution]: the same with the oldest versions, and nothing is kept
 *	SOLVE_NEWEST	opam's default. The best there is is looked for (optimum.h), as by all criteria that follow
 *	SOLVE_UPGRADE_ALL what `opam upgrade` says of all that is installed
 *	SOLVE_FIXUP	as few changes as bring about a state without contradictions
 *
 * For the last three, and for others in opam's words, aims are sums that are to be small, the first above all others. Those of the
 * usual ones are opam 2.5's (solve_aims_usual). 2.1 has no avoid-version and no missing-depexts in its: where nothing is avoided
 * and nothing missing, that makes no difference.
 */
enum solve_criteria { SOLVE_FIRST, SOLVE_0INSTALL, SOLVE_OLDEST, SOLVE_NEWEST, SOLVE_UPGRADE_ALL, SOLVE_FIXUP };
enum solve_aim_what {
	SOLVE_AIM_REMOVED, /* names that were installed, and are in no version any more */
	SOLVE_AIM_NEW,	   /* names that were not installed */
	SOLVE_AIM_CHANGED, /* names whose version was not installed, or that are removed */
	SOLVE_AIM_UNMET,   /* of what was asked for (best_effort) */
	SOLVE_AIM_AVOIDED, /* flags avoid-version, deprecated */
	SOLVE_AIM_LAG,	   /* versions that are newer */
	SOLVE_AIM_DEPEXTS, /* packages of the system are missing (channel_needs_opts.system) */
};
enum solve_aim_over { SOLVE_OVER_REQUEST, SOLVE_OVER_CHANGED, SOLVE_OVER_NEW, SOLVE_OVER_SOLUTION };
struct solve_aim {
	enum solve_aim_what what;
	enum solve_aim_over over; /* for the last three */
};
enum { SOLVE_AIMS_MAX = 12 };
struct solve_aims {
	struct solve_aim v[SOLVE_AIMS_MAX];
	size_t n;
};
/* "-removed,-count[version-lag,solution]". ERR_USAGE, ERR_LIMIT. */
int solve_aims_parse(struct str text, struct solve_aims *ret, struct err *e);
const char *solve_aims_usual(enum solve_criteria criteria); /* NULL: it has none */

struct solve_needs_request {
	const struct str *asked;
	size_t asked_n;
	const struct str *removed; /* none that these fit */
	size_t removed_n;
	const struct str *
		invariant; /* what must hold for the solution as for what is installed; asked for by nobody (opam's switch invariant) */
	size_t invariant_n;
	enum solve_criteria criteria;
	const struct solve_aims *aims; /* in place of those of SOLVE_NEWEST; NULL */
	bool best_effort;	       /* as much of what was asked for as can be had together */
	bool update; /* SOLVE_0INSTALL: without -changed, as before opam 2.2: what is installed is brought to its newest version */
	uint64_t max_conflicts; /* 0: 100,000 */
};
int solve_needs_by(struct channel_needs *needs, const struct solve_needs_request *r, struct arena *a,
		   struct solve_needs_result *ret, struct err *e);

/*
 * What is to be done to come from what is installed to such a solution, as opam tells it: what depends on something that changes
 * is built once more; what is new is there because of the closest package that was asked for.
 *
 *	solve_steps(needs, solution.package, solution.n, names, names_n, SOLVE_IN_ORDER, &arena, &steps, e)
 *
 * SOLVE_IN_ORDER is opam 2.1's: topological, and among what could be done at once as its hash tables have it (versions are
 * numbered for that, which reads all formulas). SOLVE_BY_NAME is that of later ones: by kind, then by name.
 */
enum solve_step_kind { SOLVE_REMOVE, SOLVE_DOWNGRADE, SOLVE_RECOMPILE, SOLVE_UPGRADE, SOLVE_INSTALL };
enum solve_cause {
	SOLVE_UNKNOWN,
	SOLVE_REQUESTED,
	SOLVE_REQUIRED_BY,
	SOLVE_USES,
	SOLVE_CONFLICTS_WITH,
	SOLVE_UPSTREAM
};
enum solve_step_order { SOLVE_BY_NAME, SOLVE_IN_ORDER };
struct solve_step {
	enum solve_step_kind kind;
	uint32_t package, before; /* as the needs number them; before: what an upgrade or a downgrade replaces */
	enum solve_cause cause;
	const uint32_t *causes; /* packages */
	size_t causes_n;
	const uint32_t *after; /* steps that must come before this one */
	size_t after_n;
};
struct solve_steps {
	const struct solve_step *v;
	size_t n;
	const struct str *circle; /* "install a.1 -> install b.2 -> install a.1" */
	size_t circles;
};
/* 0; 1: there is no order in which it could be done, ret->circle tells why (packages that need each other to be built); -1. */
int solve_steps(struct channel_needs *needs, const uint32_t *solution, size_t n, const struct str *asked,
		size_t asked_n, enum solve_step_order order, struct arena *a, struct solve_steps *ret, struct err *e);

/*
 * What needs a package of opam repositories, and can be installed together with it, as opam's CI asks for reverse dependencies: who names it in depends or depopts, for tests
 * too, and who cannot do without one of those that cannot do without it. Every version that can be had here; not other versions of the package itself.
 */
struct solve_users_request {
	struct opam_index *const *index;
	size_t n; /* 0: the repository is a folder, which is read for this alone: */
	int folder_fd;
	struct channel_needs_opts opts; /* variables, pinned, installed; the rest is not the caller's */
	struct str name, version;
	const struct str *with; /* what has to be there as well, as it is asked for: "ocaml.5.3.0" */
	size_t with_n;
	bool only_direct;
	uint64_t max_conflicts; /* of each; 0: 100,000 */
};
struct solve_user {
	struct str name, version;
	bool direct;
};
/* By name and version. ERR_NOT_FOUND: there is no such package. */
int solve_users(const struct solve_users_request *r, struct arena *a, struct solve_user **ret, size_t *ret_n,
		struct err *e);
