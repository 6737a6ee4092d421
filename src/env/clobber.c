// SPDX-License-Identifier: Apache-2.0
/*
 * One table of all destinations, decided before the first file is made.
 *
 * Packages are taken in link order; of two that bring one path the later has it. A file and a folder of one name are two
 * claims like any others: the later package's claim stands, and everything that stood in its way loses.
 *
 * A symbolic link to a folder is not in the way of files that another package puts below it ("lib64 → lib" and
 * "lib64/x.so", pypy's "lib/python3.9/site-packages"): they go to where the link leads, worked out here on the names
 * alone, so that nothing is ever written through a link. Links that lead out of the prefix never redirect anything.
 */
#include <string.h>

#include "base/map.h"
#include "env/layout.h"

enum { LINK_HOPS_MAX = 16, DEPTH_MAX = 512 };
enum { NO_NODE = UINT32_MAX };

enum node_kind { NODE_NONE, NODE_DIR, NODE_FILE };
struct node {
	struct str path;
	uint32_t child, next; /* of a folder: first child; the parent's next child */
	uint32_t pkg, entry;  /* of a file: who has it */
	enum node_kind kind;
};
struct redirect {
	struct str from, to;
};

struct clobber_table {
	struct link_pkg *pkg;
	size_t pkg_n;
	struct arena *arena;
	struct map by_path;  /* → node */
	struct map declared; /* folders that some file needs */
	struct map redirect; /* folder links in the way → redirects */
	VEC(struct node) nodes;
	VEC(struct redirect) redirects;
	VEC(struct link_clobber) clobbers;
};

struct clobber_table *clobber_new(struct link_pkg *p, size_t n, struct arena *a)
{
	struct clobber_table *t = xcalloc(1, sizeof(*t));
	t->pkg = p;
	t->pkg_n = n;
	t->arena = a;
	struct node *root = vec_add(&t->nodes);
	*root = (struct node){.path = STR(""), .child = NO_NODE, .next = NO_NODE, .kind = NODE_DIR};
	return t;
}

void clobber_free(struct clobber_table *t)
{
	if (!t)
		return;
	map_release(&t->by_path);
	map_release(&t->declared);
	map_release(&t->redirect);
	vec_release(&t->nodes);
	vec_release(&t->redirects);
	vec_release(&t->clobbers);
	free(t);
}

static struct str parent_of(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');
	return slash < 0 ? STR("") : str_head(path, (size_t)slash);
}

/* == links to folders ============================================================================================= */
bool link_target_resolve(struct str dest, struct str target, struct arena *a, struct str *ret)
{
	struct str dir = parent_of(dest), part, rest = target;
	if (target.n == 0 || target.p[0] == '/')
		return false;
	char *out = arena_alloc(a, dir.n + target.n + 2);
	size_t n = dir.n;
	memcpy(out, dir.p ? dir.p : "", dir.n);
	while (rest.n > 0) {
		if (!str_take_until(&rest, '/', &part)) {
			part = rest;
			rest.n = 0;
		}
		if (part.n == 0 || str_eq_c(part, "."))
			continue;
		if (str_eq_c(part, "..")) {
			if (n == 0)
				return false;
			n = parent_of(str_of(out, n)).n;
			continue;
		}
		if (n > 0)
			out[n++] = '/';
		memcpy(out + n, part.p, part.n);
		n += part.n;
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return true;
}

/* False for "name/..": what that means depends on what the name is. */
static bool leads_straight(struct str target)
{
	bool down = false;
	while (target.n > 0) {
		struct str part;
		if (!str_take_until(&target, '/', &part)) {
			part = target;
			target.n = 0;
		}
		bool up = str_eq_c(part, "..");
		if (up && down)
			return false;
		down |= !up && part.n > 0 && !str_eq_c(part, ".");
	}
	return true;
}

static void declare_parents(struct clobber_table *t, struct str path)
{
	for (struct str dir = parent_of(path); dir.n > 0; dir = parent_of(dir)) {
		uint64_t *known = map_put(&t->declared, dir);
		if (*known)
			return;
		*known = 1;
	}
}

static void declare_all(struct clobber_table *t)
{
	for (size_t i = 0; i < t->pkg_n; i++) {
		struct str last = STR_NONE;
		vec_foreach(en, &t->pkg[i].entries) {
			struct str dir = parent_of(en->dest);
			if (last.p && str_eq(dir, last))
				continue;
			last = dir;
			declare_parents(t, en->dest);
		}
	}
}

static void add_redirects(struct clobber_table *t)
{
	for (size_t i = 0; i < t->pkg_n; i++) {
		vec_foreach(en, &t->pkg[i].entries) {
			struct redirect r = {.from = en->dest};
			if (en->type != PATH_SOFT || !map_get(&t->declared, en->dest) || !leads_straight(en->target) ||
			    !link_target_resolve(en->dest, en->target, t->arena, &r.to))
				continue;
			/* "x → ." would make the table grow without end, "x → x/y" has no end at all */
			bool loops = str_starts(r.to, r.from) && (r.to.n == r.from.n || r.to.p[r.from.n] == '/');
			if (loops || (r.to.n > 0 && !map_get(&t->declared, r.to)))
				continue;
			vec_push(&t->redirects, r);
			*map_put(&t->redirect, r.from) = t->redirects.n;
		}
	}
}

/* The first folder of path that is a redirecting link, or NULL. */
static const struct redirect *redirect_of(const struct clobber_table *t, struct str path)
{
	for (size_t i = 1; i < path.n; i++) {
		uint64_t *at = path.p[i] == '/' ? map_get(&t->redirect, str_head(path, i)) : NULL;
		if (at)
			return &t->redirects.v[*at - 1];
	}
	return NULL;
}

static int resolve_dest(struct clobber_table *t, struct path_entry *en, struct err *e)
{
	const struct redirect *r;
	/* a folder that is declared as such is there already where a link to one is */
	uint64_t *self = en->type == PATH_DIR ? map_get(&t->redirect, en->dest) : NULL;
	if (self)
		en->dest = t->redirects.v[*self - 1].to;
	for (unsigned hops = 0; (r = redirect_of(t, en->dest)); hops++) {
		struct str rest = str_skip(en->dest, r->from.n + 1);
		if (hops >= LINK_HOPS_MAX || r->to.n + rest.n > 4096)
			return err_new(e, ERR_INPUT, "path '%.*s' goes through a chain of symbolic links without end",
				       STR_ARG(en->path));
		en->dest = r->to.n == 0 ? rest
					: str_c(arena_printf(t->arena, "%.*s/%.*s", STR_ARG(r->to), STR_ARG(rest)));
	}
	return 0;
}

/* == the table ==================================================================================================== */
static bool same_content(const struct path_entry *a, const struct path_entry *b)
{
	if (a->type == PATH_SOFT || b->type == PATH_SOFT)
		return a->type == b->type && str_eq(a->target, b->target);
	return a->type == PATH_HARD && b->type == PATH_HARD && a->has_sha256 && b->has_sha256 &&
	       memcmp(a->sha256, b->sha256, SHA256_SIZE) == 0 && str_eq(a->placeholder, b->placeholder) &&
	       a->binary == b->binary;
}

static int lose(struct clobber_table *t, struct node *node, size_t winner, const struct path_entry *by, struct err *e)
{
	struct link_pkg *loser = &t->pkg[node->pkg];
	struct path_entry *en = &loser->entries.v[node->entry];
	bool same = by && same_content(en, by);
	if (node->pkg == winner) {
		/* its own script of the same name as an entry point gives way; twice the same file is one file */
		if (!same && !(by && by->type == PATH_ENTRY_POINT))
			return err_new(e, ERR_INPUT, "package '%.*s' has two different things at '%.*s'",
				       STR_ARG(loser->record.fn), STR_ARG(node->path));
	} else {
		*vec_add(&t->clobbers) = (struct link_clobber){.path = node->path,
							       .winner = t->pkg[winner].record.fn,
							       .loser = loser->record.fn,
							       .same = same};
	}
	en->lost = true;
	node->kind = NODE_NONE;
	return 0;
}

/* A file takes the place of a folder: everything below loses. */
static int lose_below(struct clobber_table *t, uint32_t top, size_t winner, struct err *e)
{
	VEC(uint32_t) todo = {0};
	int r = 0;
	vec_push(&todo, top);
	while (todo.n > 0 && r == 0) {
		struct node *n = &t->nodes.v[vec_pop(&todo)];
		for (uint32_t c = n->child; c != NO_NODE; c = t->nodes.v[c].next)
			vec_push(&todo, c);
		if (n->kind == NODE_FILE)
			r = lose(t, n, winner, NULL, e);
		n->kind = NODE_NONE;
	}
	vec_release(&todo);
	return r;
}

static uint32_t node_get(struct clobber_table *t, struct str path, uint32_t parent)
{
	uint64_t *at = map_put(&t->by_path, path);
	if (*at == 0) {
		*at = t->nodes.n; /* the root is 0, so 0 is free to mean new */
		struct node *n = vec_add(&t->nodes);
		*n = (struct node){.path = path, .child = NO_NODE, .next = t->nodes.v[parent].child};
		t->nodes.v[parent].child = (uint32_t)(t->nodes.n - 1);
	}
	return (uint32_t)*at;
}

/* The node of a folder, it and its parents made where they are not there yet. */
static int dir_node(struct clobber_table *t, struct str path, size_t pkg, uint32_t *ret, struct err *e)
{
	uint64_t *at = path.n == 0 ? NULL : map_get(&t->by_path, path);
	if (path.n == 0 || (at && t->nodes.v[*at].kind == NODE_DIR)) {
		*ret = at ? (uint32_t)*at : 0;
		return 0;
	}
	uint32_t parent = 0, depth = 0;
	for (size_t i = 1; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		if (++depth > DEPTH_MAX)
			return err_new(e, ERR_LIMIT, "path '%.*s' is nested too deep", STR_ARG(path));
		uint32_t n = node_get(t, str_head(path, i), parent);
		if (t->nodes.v[n].kind == NODE_FILE && lose(t, &t->nodes.v[n], pkg, NULL, e) < 0)
			return -1;
		t->nodes.v[n].kind = NODE_DIR;
		parent = n;
	}
	*ret = parent;
	return 0;
}

static int file_node(struct clobber_table *t, size_t pkg, size_t entry, uint32_t parent, struct err *e)
{
	struct path_entry *en = &t->pkg[pkg].entries.v[entry];
	uint32_t at = node_get(t, en->dest, parent);
	struct node *n = &t->nodes.v[at];
	if (n->kind == NODE_FILE && lose(t, n, pkg, en, e) < 0)
		return -1;
	if (n->kind == NODE_DIR && lose_below(t, at, pkg, e) < 0)
		return -1;
	n->kind = NODE_FILE;
	n->pkg = (uint32_t)pkg;
	n->entry = (uint32_t)entry;
	return 0;
}

static int add_package(struct clobber_table *t, size_t pkg, struct err *e)
{
	struct str last = STR_NONE;
	uint32_t parent = 0, unused;
	for (size_t i = 0; i < t->pkg[pkg].entries.n; i++) {
		struct path_entry *en = &t->pkg[pkg].entries.v[i];
		if (t->redirects.n > 0 && resolve_dest(t, en, e) < 0)
			return -1;
		if (en->type == PATH_DIR) {
			if (dir_node(t, en->dest, pkg, &unused, e) < 0)
				return -1;
			last = STR_NONE;
			continue;
		}
		/* files come folder by folder; a folder that the last file took away is looked up again */
		struct str dir = parent_of(en->dest);
		if (!last.p || !str_eq(dir, last) || t->nodes.v[parent].kind != NODE_DIR) {
			if (dir_node(t, dir, pkg, &parent, e) < 0)
				return -1;
			last = dir;
		}
		if (file_node(t, pkg, i, parent, e) < 0)
			return -1;
	}
	return 0;
}

static int refuse(const struct clobber_table *t, struct err *e)
{
	const struct link_clobber *first = NULL;
	struct str last = STR_NONE;
	size_t n = 0;
	vec_foreach(c, &t->clobbers) {
		if (c->same)
			continue;
		if (first && str_eq(last, c->path))
			continue;
		last = c->path;
		if (n++ == 0)
			first = c;
	}
	if (n == 0)
		return 0;
	return err_new(e, ERR_EXISTS, "%zu path%s brought by two packages; the first: '%.*s', by '%.*s' and '%.*s'", n,
		       n == 1 ? " is" : "s are", STR_ARG(first->path), STR_ARG(first->loser), STR_ARG(first->winner));
}

static int compare_clobber(const void *a, const void *b)
{
	const struct link_clobber *x = a, *y = b;
	int r = str_cmp(x->path, y->path);
	if (r == 0)
		r = str_cmp(x->loser, y->loser);
	return r != 0 ? r : str_cmp(x->winner, y->winner);
}

/* A path that three packages bring has one owner in the end, and a folder may be gone that was asked for as such. */
static void settle(struct clobber_table *t)
{
	vec_foreach(c, &t->clobbers) {
		uint64_t *at = map_get(&t->by_path, c->path);
		if (at && t->nodes.v[*at].kind == NODE_FILE)
			c->winner = t->pkg[t->nodes.v[*at].pkg].record.fn;
	}
	for (size_t i = 0; i < t->pkg_n; i++) {
		vec_foreach(en, &t->pkg[i].entries) {
			uint64_t *at = en->type == PATH_DIR ? map_get(&t->by_path, en->dest) : NULL;
			en->lost |= at && t->nodes.v[*at].kind != NODE_DIR;
		}
	}
}

int clobber_plan(struct clobber_table *t, enum env_clobber mode, struct err *e)
{
	declare_all(t);
	add_redirects(t);
	for (size_t i = 0; i < t->pkg_n; i++) {
		if (add_package(t, i, e) < 0)
			return err_ctx(e, "package '%.*s'", STR_ARG(t->pkg[i].record.fn));
	}
	if (t->clobbers.n > 0)
		settle(t);
	vec_sort(&t->clobbers, compare_clobber);
	return mode == ENV_CLOBBER_REFUSE ? refuse(t, e) : 0;
}

static int compare_file(const void *a, const void *b)
{
	const struct clobber_file *x = a, *y = b;
	if (x->pkg != y->pkg)
		return x->pkg < y->pkg ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* Children stand youngest first, and a node keeps its age when it changes hands, which is rare. */
static size_t files_of(const struct clobber_table *t, const struct node *dir, struct clobber_file *file)
{
	size_t n = 0;
	bool in_order = true;
	for (uint32_t c = dir->child; c != NO_NODE; c = t->nodes.v[c].next) {
		if (t->nodes.v[c].kind == NODE_FILE)
			file[n++] = (struct clobber_file){t->nodes.v[c].pkg, t->nodes.v[c].entry};
	}
	for (size_t i = 0; i < n / 2; i++) {
		struct clobber_file swap = file[i];
		file[i] = file[n - 1 - i];
		file[n - 1 - i] = swap;
	}
	for (size_t i = 1; i < n; i++)
		in_order &= compare_file(&file[i - 1], &file[i]) < 0;
	if (!in_order)
		qsort(file, n, sizeof(*file), compare_file);
	return n;
}

size_t clobber_dirs(const struct clobber_table *t, struct arena *a, struct clobber_dir **ret)
{
	struct clobber_file *file = arena_array(a, struct clobber_file, t->nodes.n);
	struct clobber_dir *dir = arena_array(a, struct clobber_dir, t->nodes.n);
	size_t n = 0;
	/* a node is younger than its parent; the root is the first */
	vec_foreach(node, &t->nodes) {
		if (node->kind != NODE_DIR)
			continue;
		dir[n] = (struct clobber_dir){.path = node->path, .file = file};
		dir[n].n = files_of(t, node, file);
		file += dir[n++].n;
	}
	*ret = dir;
	return n;
}

struct path_entry *clobber_find(const struct clobber_table *t, struct str path)
{
	uint64_t *at = map_get(&t->by_path, path);
	const struct node *n = at ? &t->nodes.v[*at] : NULL;
	return n && n->kind == NODE_FILE ? &t->pkg[n->pkg].entries.v[n->entry] : NULL;
}

const struct link_clobber *clobber_list(const struct clobber_table *t, size_t *ret_n)
{
	*ret_n = t->clobbers.n;
	return t->clobbers.v;
}
