// SPDX-License-Identifier: Apache-2.0
/* Lists and removal. */
#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "layer/internal.h"

static int compare_used(const void *a, const void *b)
{
	const struct layer_info *x = a, *y = b;
	if (x->used_ms != y->used_ms)
		return x->used_ms < y->used_ms ? -1 : 1;
	if (x->depth != y->depth)
		return x->depth > y->depth ? -1 : 1; /* of what was used at once the children first */
	return strcmp(x->id.hex, y->id.hex);
}

int layers_read(struct layers *l, struct arena *a, const struct layer_vec *known, struct layer_vec *ret,
		struct layer_ids *ret_bad, struct err *e)
{
	auto_fs_list list = {0};
	auto_map at = MAP_INIT;
	for (size_t i = 0; known && i < known->n; i++)
		*map_put(&at, str_c(known->v[i].id.hex)) = i;
	if (fs_list(l->dir, "layer", FOLDER_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		struct layer_info info;
		struct layer_id id;
		struct err bad = ERR_INIT;
		if (!layer_id_parse(str_c(list.name[i]), &id))
			continue; /* none of ours */
		const uint64_t *k = map_get(&at, str_c(id.hex));
		if (k) {
			vec_push(ret, known->v[*k]);
			continue;
		}
		struct place place = place_layer(&id);
		int r = about_read(l, &place, false, a, &info, &bad);
		info.id = id;
		if (r > 0)
			vec_push(ret, info);
		else if (r == 0 || bad.code == ERR_INPUT)
			vec_push(ret_bad, id);
		else
			return *e = bad, -1;
	}
	vec_sort(ret, compare_used);
	return 0;
}

int layers_list(struct layers *l, struct arena *a, struct layer_info **ret, size_t *ret_n, struct err *e)
{
	struct layer_vec v = {0};
	struct layer_ids bad = {0};
	int r = layers_read(l, a, NULL, &v, &bad, e);
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	vec_release(&bad);
	return r < 0 ? err_ctx(e, "list layers") : 0;
}

int layers_pause(struct layers *l, struct err *e)
{
	return house_hold(l, false, e);
}

void layers_go_on(struct layers *l)
{
	house_open(l);
}

/* With the house held, so that none gets a child meanwhile. */
static int take_away(struct layers *l, const struct layer_id *id, struct place *ret_gone, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct layer_info *v;
	size_t n;
	struct place at = place_layer(id);
	if (!fs_exists(l->dir, at.s))
		return err_new(e, ERR_NOT_FOUND, "it is not there");
	if (layers_list(l, &a, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].parent.hex, id->hex) == 0)
			return err_new(e, ERR_BUSY, "layer '%s' is made of it; remove that first", v[i].id.hex);
	int r = entry_unname(l, &at, ret_gone, e);
	return r == 0 ? err_new(e, ERR_BUSY, "another process uses it") : r;
}

int layer_remove(struct layers *l, const struct layer_id *id, struct err *e)
{
	struct place gone;
	tmp_clear(l);
	int r = house_hold(l, true, e) < 0 ? -1 : take_away(l, id, &gone, e);
	house_open(l);
	if (r < 0)
		return err_ctx(e, "remove layer '%s'", id->hex);
	entry_discard(l, &gone);
	return 0;
}
