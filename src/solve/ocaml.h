// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * ocaml: what opam 2.1 owes to the runtime and the libraries that it is made of, where its output shows: the generic hash function
 * (runtime/hash.c: Murmur 3 over a walk of the value), hash tables that are walked bucket by bucket (stdlib's Hashtbl), and the
 * topological order of ocamlgraph 2.0. Private to solve/.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* Hashtbl.hash of (name, number); of `Tag hash, and of `Tag (`Direction, hash, hash). */
uint32_t ocaml_hash_pair(struct str name, uint32_t number);
uint32_t ocaml_hash_variant(const char *tag, uint32_t hash);
uint32_t ocaml_hash_change(const char *tag, const char *direction, uint32_t before, uint32_t after);

/* The order in which a table made for `size` elements is walked that were put in one after another: places in `hash`. */
void ocaml_table_order(const uint32_t *hash, size_t n, size_t size, uint32_t *ret);

/* Vertices 0…n-1, walked in the order `walk`; out[v]: to where its edges go, ascending in the order of a set. Returns how many there
 * are in the result: fewer than n where there are circles. */
struct ocaml_edges {
	const uint32_t *v;
	size_t n;
};
size_t ocaml_topological(const struct ocaml_edges *out, const uint32_t *walk, size_t n, struct arena *a, uint32_t *ret);
