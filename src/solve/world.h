// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * world: what a solve has reached so far: names, their candidates over all indexes, and specs. Everything is read from
 * the indexes when it is first asked for, and kept by number.
 *
 * A name's candidates are cand[first .. first+n), best first, from all channels that count: with strict priority those of
 * the first channel that has the name, or those of the channel that a request names.
 */
#include "base/map.h"
#include "base/vec.h"
#include "solve/solve.h"

enum {
	WORLD_NONE = UINT32_MAX,
	WORLD_VIRTUAL = UINT32_MAX - 1, /* world_candidate.index: pkg counts in request.virtuals, request.installed */
	WORLD_INSTALLED = UINT32_MAX - 2,
};

struct world_version {
	struct str text;
	const struct version *parsed; /* by world_version_of */
	bool tried;
};

struct world_candidate {
	uint32_t name, index, pkg;
	uint32_t version; /* in world.version */
	uint32_t rank;	  /* of two with one rank only order.c can tell which is better */
	uint32_t build_number;
	uint64_t timestamp_ms;
	bool track_features;
};

struct world_name {
	struct str text;
	bool loaded;
	uint32_t first, n;
	uint32_t version, version_n; /* the distinct ones among its candidates */
	uint32_t var;		     /* the engine's variable of the first candidate, or WORLD_NONE */
	uint32_t wanted;	     /* 1 + the spec that names a channel for it, or 0 */
	uint32_t hidden;	     /* an index whose packages of this name strict priority hides, or WORLD_NONE */
};

struct world_spec {
	struct str text;
	uint32_t name;
	const struct spec *spec; /* NULL: it cannot be read; such a package is never chosen */
	bool listed;
	uint32_t member_n;
	const uint32_t *member; /* candidates, best first */
	uint32_t choice, ban;	/* the engine's variables, or WORLD_NONE */
	uint32_t best;		/* order.c: the highest version it allows */
	bool best_known, best_tracks;
};

struct world {
	const struct solve_request *r;
	const struct pkg_scheme *scheme;
	struct arena *a;
	VEC(struct world_name) name;
	VEC(struct world_candidate) cand;
	VEC(struct world_version) version;
	VEC(struct world_spec) spec;
	struct map names, specs[2];	/* specs by text; the second of those read with SPEC_V3 */
	uint32_t **spec_of;		/* by index: 1 + our number, by twice theirs, plus one with SPEC_V3 */
	uint32_t requests, constraints; /* the first specs are those asked for, then the constraints */
};

/* Reads the request's specs. They are the world's first, in their order. */
int world_init(struct world *p, const struct solve_request *r, struct arena *a, struct err *e);
void world_release(struct world *p);

uint32_t world_name(struct world *p, struct str text);
const struct world_name *world_load(struct world *p, uint32_t name);
uint32_t world_spec_of_text(struct world *p, struct str text, enum spec_flags flags);
/* Number of a spec, with the candidates it matches. */
const struct world_spec *world_members(struct world *p, uint32_t spec);
const struct version *world_version_of(struct world *p, uint32_t version);
/* The specs that a candidate depends on, or is constrained by. Returns how many; they live in the world's arena. */
uint32_t world_depends(struct world *p, uint32_t cand, const uint32_t **ret);
uint32_t world_constrains(struct world *p, uint32_t cand, const uint32_t **ret);
/* CEP 44: what a candidate depends on where one of its groups is asked for. */
struct world_extra {
	struct str group;
	uint32_t spec;
};
uint32_t world_extras(struct world *p, uint32_t cand, const struct world_extra **ret);
/* The whole record; views into `a`, the index or the request. */
int world_record(const struct world *p, uint32_t cand, struct arena *a, struct pkg_record *ret, struct err *e);
