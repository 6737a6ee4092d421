// SPDX-License-Identifier: Apache-2.0
#include "mirror/small.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "solve/solve.h"

enum { OCAML_MAX = 64 };

static void small_release(struct small *s)
{
	vec_release(&s->package);
	vec_release(&s->held_all);
	vec_release(&s->platforms);
	vec_release(&s->added);
	vec_release(&s->removed);
	map_release(&s->by_key);
	map_release(&s->held);
	cleanup_fd(&s->from);
	cleanup_fd(&s->to);
}

void small_say(const struct small *s, struct mirror_small_told t)
{
	if (s->o->say)
		s->o->say(s->o->ctx, &t);
}

/* -- lines ---------------------------------------------------------------------------------------------------------- */

struct lines {
	const struct mirror_small_line *v;
	size_t n;
};

static bool names_ocaml(const struct mirror_small_line *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct str rest = l->asked[i];
		if (str_take_str(&rest, STR("ocaml")) && (!rest.n || memchr(".<>=! ", rest.p[0], 6)))
			return true;
	}
	return false;
}

static struct mirror_small_line with_ocaml(struct arena *a, const struct mirror_small_line *l, struct str version)
{
	struct str *asked = arena_array(a, struct str, l->n + 1);
	asked[0] = str_c(arena_printf(a, "ocaml.%.*s", STR_ARG(version)));
	memcpy(asked + 1, l->asked, l->n * sizeof(*asked));
	return (struct mirror_small_line){
		.text = str_c(arena_printf(a, "%.*s %.*s", STR_ARG(asked[0]), STR_ARG(l->text))),
		.asked = asked,
		.n = l->n + 1,
		.number = l->number};
}

/* The lines that go with the i-th of the compilers: those that name none with it, the others with the first. */
static struct lines lines_with(const struct small *s, size_t i)
{
	const struct mirror_small_opts *o = s->o;
	struct mirror_small_line *v = arena_array(s->a, struct mirror_small_line, o->lines_n + 1);
	struct lines ret = {v, 0};
	for (size_t k = 0; k < o->lines_n; k++)
		if (!o->ocaml.n || names_ocaml(&o->lines[k])) {
			if (i == 0)
				v[ret.n++] = o->lines[k];
		} else {
			v[ret.n++] = with_ocaml(s->a, &o->lines[k], o->ocaml.v[i]);
		}
	return ret;
}

/* What all of them ask for. */
static struct mirror_small_line together(const struct small *s, const struct lines *l)
{
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		n += l->v[i].n;
	struct str *asked = arena_array(s->a, struct str, n + 1);
	struct mirror_small_line ret = {.text = STR("all lines together"), .asked = asked};
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < l->v[i].n; k++)
			asked[ret.n++] = l->v[i].asked[k];
	return ret;
}

/* -- solving -------------------------------------------------------------------------------------------------------- */

VEC_TYPE(file_vec, struct small_file);
struct filing {
	struct small *s;
	struct file_vec files;
};

static int add_file(void *ctx, const struct channel_item *item, struct err *e)
{
	struct filing *f = ctx;
	struct arena *a = f->s->a;
	(void)e;
	vec_push(&f->files, ((struct small_file){.path = arena_str(a, item->path),
						 .copy_of = item->copy_of.n ? arena_str(a, item->copy_of) : STR_NONE,
						 .size = item->size}));
	return 0;
}

static int want(struct small *s, struct channel_needs *needs, uint32_t package, struct err *e)
{
	const struct channel_candidate *c = channel_needs_candidate(needs, package);
	struct filing f = {.s = s};
	if (map_get(&s->by_key, c->key))
		return 0;
	int rc = channel_needs_files(needs, package, add_file, &f, e);
	struct small_package p = {.key = arena_str(s->a, c->key),
				  .name = arena_str(s->a, c->name),
				  .files = vec_copy(&f.files, s->a),
				  .files_n = f.files.n};
	vec_release(&f.files);
	if (rc < 0)
		return -1;
	p.is_new = !small_holds(s, &p);
	vec_push(&s->package, p);
	*map_put(&s->by_key, p.key) = s->package.n;
	return 0;
}

/* As solve_needs; what no package is called is a line without a solution. */
static int solve_line(const struct small *s, struct channel_needs *needs, const struct mirror_small_line *l,
		      struct arena *a, struct solve_needs_result *ret, struct err *e)
{
	struct err failure = ERR_INIT;
	int rc = solve_needs(needs, l->asked, l->n, 0, a, ret, &failure);
	if (rc >= 0)
		return rc;
	if (failure.code == ERR_NOT_FOUND || failure.code == ERR_LIMIT) {
		struct str *why = arena_new(a, struct str);
		*why = str_c(arena_printf(a, "%s", failure.msg));
		ret->why = why;
		ret->why_n = 1;
		return 1;
	}
	*e = failure;
	return l->number ? err_ctx(e, "%s:%zu", s->o->file, l->number) : -1;
}

static int want_all(struct small *s, struct channel_needs *needs, const struct solve_needs_result *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++)
		if (want(s, needs, r->package[i], e) < 0)
			return -1;
	return 0;
}

static int do_line(struct small *s, struct channel_needs *needs, const struct mirror_small_line *l,
		   struct mirror_small_solution *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct solve_needs_result r;
	struct str platform = ret->platform;
	small_say(s, (struct mirror_small_told){MIRROR_SMALL_LINE, platform, l->text, NULL, 0});
	int rc = solve_line(s, needs, l, &a, &r, e);
	if (rc < 0)
		return -1;
	ret->text = l->text;
	ret->solved = rc == 0;
	ret->packages = r.n;
	if (rc > 0) {
		s->res->unsolved++;
		small_say(s, (struct mirror_small_told){MIRROR_SMALL_NONE, platform, l->text, r.why, r.why_n});
	}
	return rc > 0 ? 0 : want_all(s, needs, &r, e);
}

static int do_together(struct small *s, struct channel_needs *needs, const struct lines *l, struct str platform,
		       struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct solve_needs_result r;
	struct mirror_small_line all = together(s, l);
	int rc = solve_line(s, needs, &all, &a, &r, e);
	if (rc > 0) {
		s->res->apart++;
		small_say(s, (struct mirror_small_told){MIRROR_SMALL_APART, platform, all.text, r.why, r.why_n});
	}
	return rc < 0 ? -1 : rc > 0 ? 0 : want_all(s, needs, &r, e);
}

static int needs_open(struct small *s, int folder, struct str platform, struct channel_needs **ret, struct err *e)
{
	const struct channel_needs_opts o = {.platform = platform,
					     .weak = !s->o->strong,
					     .variables = s->o->variables.v,
					     .variables_n = s->o->variables.n};
	return channel_needs_open(s->o->kind, folder, &s->o->walk, &o, ret, e);
}

VEC_TYPE(solution_vec, struct mirror_small_solution);

static int do_platform(struct small *s, struct str platform, struct solution_vec *solutions, struct err *e)
{
	auto_ptr(channel_needs) needs = NULL;
	size_t before = s->package.n, n = 0, groups = s->o->ocaml.n ? s->o->ocaml.n : 1;
	small_say(s, (struct mirror_small_told){MIRROR_SMALL_CHECK, platform, STR_NONE, NULL, 0});
	small_say(s, (struct mirror_small_told){MIRROR_SMALL_LIST, platform, STR_NONE, NULL, 0});
	if (needs_open(s, s->from, platform, &needs, e) < 0)
		return err_ctx(e, "read '%s'", s->o->from);
	for (size_t i = 0; i < groups; i++) {
		const struct lines l = lines_with(s, i);
		size_t unsolved = s->res->unsolved;
		for (size_t k = 0; k < l.n; k++) {
			struct mirror_small_solution *one = vec_add(solutions);
			one->platform = platform;
			if (do_line(s, needs, &l.v[k], one, e) < 0)
				return -1;
		}
		if (l.n > 1 && !s->o->alone && unsolved == s->res->unsolved &&
		    do_together(s, needs, &l, platform, e) < 0)
			return -1;
	}
	for (size_t i = before; i < s->package.n; i++)
		n += s->package.v[i].is_new;
	small_say(s, (struct mirror_small_told){MIRROR_SMALL_NEW, platform, STR_NONE, NULL, n});
	return 0;
}

/* -- does it answer as the large one did? --------------------------------------------------------------------------- */

static bool is_same(struct channel_needs *x, const struct solve_needs_result *r, struct channel_needs *y,
		    const struct solve_needs_result *q)
{
	auto_map seen = MAP_INIT;
	for (size_t i = 0; i < r->n; i++)
		*map_put(&seen, channel_needs_candidate(x, r->package[i])->key) = 1;
	for (size_t i = 0; i < q->n; i++)
		if (!map_get(&seen, channel_needs_candidate(y, q->package[i])->key))
			return false;
	return r->n == q->n;
}

static int check_platform(struct small *s, struct str platform, struct err *e)
{
	auto_ptr(channel_needs) large = NULL;
	auto_ptr(channel_needs) made = NULL;
	size_t groups = s->o->ocaml.n ? s->o->ocaml.n : 1;
	if (needs_open(s, s->from, platform, &large, e) < 0 || needs_open(s, s->to, platform, &made, e) < 0)
		return err_ctx(e, "look at what was made");
	for (size_t i = 0; i < groups; i++) {
		const struct lines l = lines_with(s, i);
		for (size_t k = 0; k < l.n; k++) {
			auto_arena a = ARENA_INIT;
			struct solve_needs_result x, y;
			int rc = solve_line(s, large, &l.v[k], &a, &x, e);
			if (rc > 0)
				continue;
			int again = rc < 0 ? -1 : solve_line(s, made, &l.v[k], &a, &y, e);
			if (again < 0)
				return -1;
			if (again == 0 && is_same(large, &x, made, &y))
				continue;
			s->res->unlike++;
			small_say(s, (struct mirror_small_told){MIRROR_SMALL_UNLIKE, platform, l.v[k].text, NULL, 0});
		}
	}
	return 0;
}

/* -- all of it ------------------------------------------------------------------------------------------------------ */

static int path_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int open_folders(struct small *s, struct err *e)
{
	s->from = fs_open_dir(AT_FDCWD, s->o->from, e);
	if (s->from < 0)
		return -1;
	s->to = s->o->dry_run ? open(s->o->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
			      : fs_open_dir_make(AT_FDCWD, s->o->to, e);
	if (s->to < 0 && !s->o->dry_run)
		return -1;
	struct stat x, y;
	if (s->to >= 0 && fstat(s->from, &x) == 0 && fstat(s->to, &y) == 0 && x.st_ino == y.st_ino &&
	    x.st_dev == y.st_dev)
		return err_new(e, ERR_USAGE, "'%s' is the channel that the small one is made of; name another folder",
			       s->o->to);
	return small_look(s, e);
}

static int run(struct small *s, struct solution_vec *solutions, struct err *e)
{
	if (open_folders(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->o->platforms.n; i++)
		vec_push(&s->platforms, s->o->platforms.v[i]);
	if (!s->platforms.n)
		vec_push(&s->platforms, channel_needs_host(s->o->kind));
	for (size_t i = 0; i < s->platforms.n; i++)
		if (do_platform(s, s->platforms.v[i], solutions, e) < 0)
			return -1;
	vec_foreach(p, &s->package)
		if (p->is_new)
			vec_push(&s->added, p->key);
	if (small_make(s, e) < 0 || small_prune(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->platforms.n && !s->o->dry_run; i++)
		if (check_platform(s, s->platforms.v[i], e) < 0)
			return -1;
	return 0;
}

int mirror_small(const struct mirror_small_opts *o, struct arena *a, struct mirror_small_result *ret, struct err *e)
{
	cleanup_with(small_release) struct small s = {.o = o, .a = a, .res = ret, .from = -1, .to = -1};
	struct solution_vec solutions = {0};
	*ret = (struct mirror_small_result){0};
	if (!channel_needs_host(o->kind).n)
		return err_new(e, ERR_USAGE,
			       "a small channel cannot be made of a %s channel: its metadata do not tell "
			       "what packages need",
			       channel_kind_name(o->kind));
	int rc = run(&s, &solutions, e);
	vec_sort(&s.added, path_cmp);
	vec_sort(&s.removed, path_cmp);
	ret->solutions = vec_copy(&solutions, a);
	ret->solutions_n = solutions.n;
	ret->packages = s.package.n;
	ret->added = (struct mirror_list){vec_copy(&s.added, a), s.added.n};
	ret->removed = (struct mirror_list){vec_copy(&s.removed, a), s.removed.n};
	vec_release(&solutions);
	return rc;
}
