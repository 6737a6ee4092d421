// SPDX-License-Identifier: Apache-2.0
/* How a change is shown: its plan before, how it went after, and both as one object with --json. */
#include "cmd/change_show.h"

enum { MAX_DIFFERENCES_SHOWN = 20 };

/* -- the plan --------------------------------------------------------------------------------------------- */

static void put_change(struct out_table *t, const char *sign, const struct pkg_record *from,
		       const struct pkg_record *to)
{
	const struct pkg_record *r = to ? to : from;
	auto_buf size = BUF_INIT(64);
	if (to && to->size) /* lists of URLs do not tell */
		out_put_size(&size, to->size);
	out_table_cell(t, "%s %.*s", sign, STR_ARG(r->name));
	if (from && to && str_eq(from->version, to->version))
		out_table_cell(t, "%.*s", STR_ARG(to->version));
	else if (from && to)
		out_table_cell(t, "%.*s -> %.*s", STR_ARG(from->version), STR_ARG(to->version));
	else
		out_table_cell(t, "%.*s", STR_ARG(r->version));
	out_table_cell(t, "%.*s", STR_ARG(r->build));
	out_table_cell(t, "%.*s", STR_ARG(r->channel));
	out_table_cell(t, "%s", size.p);
}

void change_show_plan(struct cmd_context *c, const struct env_plan *p)
{
	auto_buf size = BUF_INIT(64);
	static const char *const titles[] = {"  Package", "Version", "Build", "Channel", "Size"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 4, .whole = 1 | 1 << 1, .tail = 1 << 3};
	for (size_t i = 0; i < p->added_n; i++)
		put_change(&t, "+", NULL, &p->target.packages[p->added[i]].record);
	for (size_t i = 0; i < p->changed_n; i++)
		put_change(&t, "~", &p->before.packages[p->changed[i].from].record,
			   &p->target.packages[p->changed[i].to].record);
	for (size_t i = 0; i < p->removed_n; i++)
		put_change(&t, "-", &p->before.packages[p->removed[i]].record, NULL);
	if (t.cells.n)
		out_table_print(&c->out, &t);
	out_put_size(&size, p->download_bytes);
	size_t builds = 0;
	for (size_t i = 0; i < p->steps_n; i++)
		builds += p->steps[i].kind == ENV_STEP_BUILD;
	if (builds)
		buf_printf(&size, "; to build: %zu", builds);
	out_line(&c->out, "%zu to add, %zu to change, %zu to remove, %zu stay; to download: %s", p->added_n,
		 p->changed_n, p->removed_n, p->kept_n, size.p);
	out_flush(&c->out);
}

/* -- files that differ ---------------------------------------------------------------------------------------------- */

static void on_difference(void *ctx, const char *path, const char *what, const char *detail, struct str package)
{
	struct change_differences *d = ctx;
	(void)package;
	if (d->leave_added && strcmp(what, "added") == 0)
		return;
	*vec_add(&d->found) = (struct change_difference){
		.path = arena_strdup(&d->c->arena, str_c(path)),
		.what = what,
		.detail = arena_strdup(&d->c->arena, str_c(detail)),
	};
}

int change_find_differences(struct cmd_context *c, struct str name, bool delete, struct change_differences *d,
			    struct err *e)
{
	size_t n;
	d->leave_added = !delete;
	if (env_differences(c->state, name, 0, true, on_difference, d, e) < 0)
		return -1;
	n = c->verbose || d->found.n < MAX_DIFFERENCES_SHOWN ? d->found.n : MAX_DIFFERENCES_SHOWN;
	if (n)
		cmd_say(c, "files that differ from the recipe (%s~ restored, + laid out again):",
			delete ? "- will be removed, " : "");
	for (size_t i = 0; i < n; i++) {
		const struct change_difference *f = &d->found.v[i];
		const char *sign = strcmp(f->what, "added") == 0 ? "-" : strcmp(f->what, "changed") == 0 ? "~" : "+";
		cmd_say(c, "  %s %s%s%s%s", sign, f->path, *f->detail ? " (" : "", f->detail, *f->detail ? ")" : "");
	}
	if (n < d->found.n)
		cmd_say(c, "  ... and %zu more (--verbose lists all)", d->found.n - n);
	return 0;
}

/* -- how it went --------------------------------------------------------------------------------------------------- */

static void show_left(struct cmd_context *c, const struct env_report *r)
{
	size_t n = c->verbose || r->left_n < MAX_DIFFERENCES_SHOWN ? r->left_n : MAX_DIFFERENCES_SHOWN;
	for (size_t i = 0; i < n; i++)
		cmd_warn(c, "'%.*s' is not taken over: %s; the generation before this one still has it",
			 STR_ARG(r->left[i].path), r->left[i].why);
	if (n < r->left_n)
		cmd_warn(c, "%zu more files are not taken over (--verbose lists all)", r->left_n - n);
}

/* Whoever mistyped -n did not want it. */
static void show_new(struct cmd_context *c, const struct cmd_change *ch)
{
	if (ch->install->commit)
		cmd_say(c, "'%.*s' is a new environment; 'slipway env remove -n %.*s' takes it away", STR_ARG(ch->name),
			STR_ARG(ch->name));
	else
		cmd_say(c, "'%.*s' is a new environment; 'slipway install abort -n %.*s' takes it away",
			STR_ARG(ch->name), STR_ARG(ch->name));
}

void change_show_result(struct cmd_context *c, const struct cmd_change *ch, const struct env_report *r)
{
	for (size_t i = 0; i < r->notes_n; i++)
		cmd_say(c, "note: %.*s", STR_ARG(r->notes[i]));
	show_left(c, r);
	if (r->carried)
		cmd_say(c, "files that no package owns, taken over: %llu", (unsigned long long)r->carried);
	if (ch->install && !ch->install->activate) {
		cmd_say(c,
			"generation %u of '%.*s' is added, and nothing that runs has changed; 'slipway install activate "
			"issu -n %.*s' goes on with it",
			r->generation, STR_ARG(ch->name), STR_ARG(ch->name));
		if (!ch->before)
			show_new(c, ch);
		return;
	}
	cmd_say(c,
		"'%.*s' is now at generation %u: %llu file%s (%llu linked, %llu copied, %llu with the prefix put in)",
		STR_ARG(ch->name), r->generation, (unsigned long long)r->files, r->files == 1 ? "" : "s",
		(unsigned long long)r->linked, (unsigned long long)r->copied, (unsigned long long)r->patched);
	if (ch->install && !ch->before)
		show_new(c, ch);
}

/* -- as JSON ------------------------------------------------------------------------------------------------------- */

static void put_added(struct jw *w, const void *ctx, size_t i)
{
	const struct env_plan *p = ctx;
	pkg_record_write(w, &p->target.packages[p->added[i]].record);
}

static void put_removed(struct jw *w, const void *ctx, size_t i)
{
	const struct env_plan *p = ctx;
	pkg_record_write(w, &p->before.packages[p->removed[i]].record);
}

static void put_changed(struct jw *w, const void *ctx, size_t i)
{
	const struct env_plan *p = ctx;
	jw_key(w, "from");
	jw_object(w);
	pkg_record_write(w, &p->before.packages[p->changed[i].from].record);
	jw_object_end(w);
	jw_key(w, "to");
	jw_object(w);
	pkg_record_write(w, &p->target.packages[p->changed[i].to].record);
	jw_object_end(w);
}

static void put_step(struct jw *w, const void *ctx, size_t i)
{
	static const char *const kinds[] = {"download", "unpack", "build", "link", "remove"};
	const struct env_plan *p = ctx;
	const struct env_step *s = &p->steps[i];
	const struct env_spec_file *f = s->kind == ENV_STEP_REMOVE ? &p->before : &p->target;
	jw_kv_c(w, "step", kinds[s->kind]);
	jw_kv_str(w, "package", f->packages[s->package].record.fn);
}

static void put_difference(struct jw *w, const void *ctx, size_t i)
{
	const struct change_differences *d = ctx;
	jw_kv_c(w, "path", d->found.v[i].path);
	jw_kv_c(w, "what", d->found.v[i].what);
	jw_kv_c(w, "detail", d->found.v[i].detail);
}

static void put_left(struct jw *w, const void *ctx, size_t i)
{
	const struct env_report *r = ctx;
	jw_kv_str(w, "path", r->left[i].path);
	jw_kv_c(w, "why", r->left[i].why);
}

static void put_report(struct jw *w, const struct env_report *r)
{
	jw_kv_int(w, "generation", r->generation);
	jw_kv_int(w, "files", (int64_t)r->files);
	jw_kv_int(w, "linked", (int64_t)r->linked);
	jw_kv_int(w, "copied", (int64_t)r->copied);
	jw_kv_int(w, "patched", (int64_t)r->patched);
	jw_kv_int(w, "carried", (int64_t)r->carried);
	jw_kv_objects(w, "not_carried", r->left_n, put_left, r);
	jw_kv_list(w, "notes", r->notes, r->notes_n);
}

int change_answer(struct cmd_context *c, const struct cmd_change *ch, const struct env_plan *p,
		  const struct change_differences *d, const struct env_report *r, const struct cmd_upgrade *u)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", ch->name);
	jw_kv_c(w, "operation", ch->operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_objects(w, "added", p->added_n, put_added, p);
	jw_kv_objects(w, "changed", p->changed_n, put_changed, p);
	jw_kv_objects(w, "removed", p->removed_n, put_removed, p);
	jw_kv_int(w, "kept", (int64_t)p->kept_n);
	jw_kv_int(w, "download_bytes", (int64_t)p->download_bytes);
	jw_kv_objects(w, "steps", p->steps_n, put_step, p);
	jw_kv_objects(w, "differences", d->found.n, put_difference, d);
	if (ch->install) {
		jw_kv_bool(w, "activated", r && ch->install->activate);
		jw_kv_bool(w, "committed", r && ch->install->commit);
	}
	if (r)
		put_report(w, r);
	cmd_put_checks(w, u);
	return cmd_answer_print(c, &a);
}
