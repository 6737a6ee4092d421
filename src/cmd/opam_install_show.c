// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: what install, reinstall, remove and upgrade are going to do, and how it went. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/opam_install.h"

/* == showing the plan ====================================================================================================== */

static struct str symbol(const char *kind)
{
	static const struct {
		const char *kind;
		struct str utf8;
	} v[] = {{"install", {"\xe2\x88\x97", 3}}, {"recompile", {"\xe2\x86\xbb", 3}}, {"remove", {"\xe2\x8a\x98", 3}},
		 {"upgrade", {"\xe2\x86\x97", 3}}, {"downgrade", {"\xe2\x86\x98", 3}}, {"fetch", {"\xe2\xac\x87", 3}},
		 {"build", {"\xce\xbb", 2}},	   {"done", {"\xe2\x88\x97", 3}}};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		if (opam_as_utf8() && strcmp(v[i].kind, kind) == 0)
			return v[i].utf8;
	return STR("-");
}

static const char *const action_kinds[] = {"remove", "downgrade", "recompile", "upgrade", "install"};

/* "===== 13 to install | 1 to remove =====" */
static void show_sum(struct plan *p, const size_t count[5])
{
	static const enum opam_action_kind order[] = {OPAM_INSTALL, OPAM_RECOMPILE, OPAM_UPGRADE, OPAM_DOWNGRADE,
						      OPAM_REMOVE};
	const char *between = "===== ";
	for (size_t i = 0; i < 5; i++) {
		struct str s = symbol(action_kinds[order[i]]);
		if (count[order[i]] == 0)
			continue;
		if (opam_as_utf8())
			opam_as_put(p->x, "%s%.*s %zu", between, STR_ARG(s), count[order[i]]);
		else
			opam_as_put(p->x, "%s%zu to %s", between, count[order[i]], action_kinds[order[i]]);
		between = opam_as_utf8() ? "   " : " | ";
	}
	opam_as_put(p->x, " =====\n");
}

static const char *version_shown(struct plan *p, struct str name, struct str version)
{
	bool pinned = env_opam_version_in(&p->state.pinned, name).p != NULL;
	return arena_printf(arena_of(p), "%.*s%s", STR_ARG(version), pinned ? "*" : "");
}

static void show_row(struct plan *p, struct opam_as_table *t, enum opam_action_kind kind, struct str name,
		     const char *versions, struct buf *why)
{
	struct str s = symbol(action_kinds[kind]);
	opam_as_cell(t, "  %.*s %s", STR_ARG(s), action_kinds[kind]);
	opam_as_cell(t, "%.*s", STR_ARG(name));
	opam_as_cell(t, "%s", versions);
	opam_as_cell(t, "%s", why->p);
	(void)p;
}

static void put_heading(struct plan *p)
{
	opam_as_put(p->x, "The following actions %s be %s:\n", p->w->show ? "would" : "will",
		    p->w->dry_run ? "simulated" : "performed");
}

void opam_install_show_actions(struct plan *p)
{
	enum { ALL = 4, SHOWN = 3 };
	struct opam_as_table t = {.columns = 5, .sep = " "};
	size_t count[5] = {0};
	put_heading(p);
	for (size_t i = 0; i < p->actions_n; i++) {
		const struct opam_action *act = &p->actions[i];
		const struct str *message = NULL;
		size_t messages = 0;
		struct err ignored = ERR_INIT; /* what cannot be read says nothing */
		auto_buf why = BUF_INIT(1 << 16);
		const char *version = version_shown(p, act->name, act->version);
		if (act->kind == OPAM_UPGRADE || act->kind == OPAM_DOWNGRADE)
			version = arena_printf(arena_of(p), "%.*s to %s", STR_ARG(act->before), version);
		size_t n = act->causes_n > ALL ? SHOWN : act->causes_n;
		buf_printf(&why, "%s%s", *act->why ? "[" : "", act->why);
		for (size_t k = 0; k < n; k++)
			buf_printf(&why, "%s%.*s", k ? ", " : "", STR_ARG(act->causes[k]));
		buf_put_c(&why, !*act->why ? "" : n < act->causes_n ? ", etc.]" : "]");
		count[act->kind]++;
		show_row(p, &t, act->kind, act->name, version, &why);
		if (act->kind != OPAM_REMOVE && act->solved)
			(void)channel_needs_messages(p->needs, act->package, arena_of(p), &message, &messages,
						     &ignored);
		for (size_t k = 0; k < messages; k++) {
			for (size_t cell = 0; k && cell < 4; cell++)
				opam_as_cell(&t, "%s", "");
			opam_as_cell(&t, "%.*s", STR_ARG(message[k]));
		}
		if (!messages)
			opam_as_cell(&t, "%s", "");
	}
	opam_as_table(p->x, &t);
	if (p->actions_n > 1)
		show_sum(p, count);
}

/* What is removed comes before what it needs, what is built anew behind it; else as they stand. The order in `order`. */
static void order_removals(const struct plan *p, size_t *order)
{
	size_t count = p->packages.n;
	auto_free size_t *waits = xcalloc(count + 1, sizeof(*waits)); /* for so many; SIZE_MAX: it is done */
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < p->packages.v[i].n_needs; k++)
			waits[p->packages.v[i].install ? i : p->packages.v[i].needs[k]]++;
	for (size_t n = 0; n < count; n++) {
		size_t next = SIZE_MAX;
		for (size_t i = 0; i < count && (next == SIZE_MAX || waits[next]); i++)
			if (waits[i] != SIZE_MAX && (next == SIZE_MAX || !waits[i])) /* in a circle, the first */
				next = i;
		waits[next] = SIZE_MAX;
		order[n] = next;
		for (size_t i = 0; i < count; i++)
			for (size_t k = 0; k < p->packages.v[i].n_needs; k++) {
				bool builds = p->packages.v[i].install;
				size_t to = builds ? i : p->packages.v[i].needs[k];
				if ((builds ? p->packages.v[i].needs[k] : i) == next && waits[to] != SIZE_MAX)
					waits[to]--;
			}
	}
}

void opam_install_show_removals(struct plan *p)
{
	struct opam_as_table t = {.columns = 4, .sep = " "};
	size_t count[5] = {0}, *order = arena_array(arena_of(p), size_t, p->packages.n + 1);
	put_heading(p);
	order_removals(p, order);
	for (size_t i = 0; i < p->packages.n; i++) {
		const struct build_opam_package *b = &p->packages.v[order[i]];
		enum opam_action_kind kind = b->install ? OPAM_RECOMPILE : OPAM_REMOVE;
		auto_buf why = BUF_INIT(1 << 16);
		for (size_t k = 0; k < b->n_needs && !is_asked(p, b->name); k++)
			buf_printf(&why, "%s%.*s", why.n ? ", " : "[uses ", STR_ARG(p->packages.v[b->needs[k]].name));
		buf_put_c(&why, why.n ? "]" : "");
		count[kind]++;
		show_row(p, &t, kind, b->name, version_shown(p, b->name, b->version), &why);
	}
	opam_as_table(p->x, &t);
	if (p->packages.n > 1)
		show_sum(p, count);
}

/* == how it went ============================================================================================================ */

static const char *short_path(struct plan *p, const char *path)
{
	const char *home = getenv("HOME");
	size_t n = home ? strlen(home) : 0;
	if (n > 1 && strncmp(path, home, n) == 0 && path[n] == '/')
		return arena_printf(arena_of(p), "~%s", path + n);
	return path;
}

static void put_error_head(const struct build_opam_failure *f, struct buf *b)
{
	static const char *const doing[] = {"fetching sources for", "compiling", "installing", "removing"};
	auto_buf head = BUF_INIT(4096);
	buf_printf(&head, "#=== ERROR while %s %.*s.%.*s ", doing[f->step], STR_ARG(f->package->name),
		   STR_ARG(f->package->version));
	while (head.n < 79)
		buf_put_char(&head, '=');
	buf_printf(b, "\n%s#\n", head.p);
}

/* A line of output, as much of it as opam shows. */
static void put_line(struct str line, struct buf *b)
{
	enum { SHOWN = 400, CUT = 395 };
	buf_put_c(b, "# ");
	buf_put_str(b, str_head(line, line.n > SHOWN ? CUT : line.n));
	buf_put_c(b, line.n > SHOWN ? "[...]\n" : "\n");
}

static bool unindented(struct str s)
{
	return s.n && s.p[0] != ' ' && s.p[0] != '\t';
}

/* The last lines of what a command printed (OPAMERRLOGLEN; 0: all), with the last line in front of them that begins at the margin. */
static void put_output(struct plan *p, const char *path, struct buf *b)
{
	enum { OUTPUT_MAX = 64 << 20, USUAL = 12 };
	auto_buf text = BUF_INIT(OUTPUT_MAX);
	struct err ignored = ERR_INIT; /* a log that is too long or gone is named above all the same */
	VEC(struct str) lines = {0};
	const char *said = getenv("OPAMERRLOGLEN");
	uint64_t n = USUAL;
	struct str line;
	(void)p;
	if (said && !str_to_u64(str_c(said), &n))
		n = USUAL;
	if (fs_read(AT_FDCWD, path, &text, &ignored) < 0)
		return;
	struct str rest = buf_str(&text);
	while (str_take_line(&rest, &line))
		vec_push(&lines, line);
	if (lines.n)
		buf_put_c(b, "### output ###\n");
	size_t from = 0;
	if (n && lines.n >= n) {
		from = lines.n - (size_t)n;
		size_t head = from;
		while (head > 0 && !unindented(lines.v[head]))
			head--;
		if (head != from && unindented(lines.v[head])) {
			put_line(lines.v[head], b);
			from++;
		}
		buf_put_c(b, "# [...]\n");
	}
	for (size_t i = from; i < lines.n; i++)
		put_line(lines.v[i], b);
	vec_release(&lines);
}

static void put_failure(struct plan *p, const struct build_opam_failure *f, struct buf *b)
{
	put_error_head(f, b);
	if (f->why) {
		buf_printf(b, "%s\n", f->why);
		return;
	}
	struct pkg_opam_host h = env_opam_host(p->vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	struct str os = STR("unknown"), arch = STR("unknown");
	h.variable(h.ctx, STR("os"), &os);
	h.variable(h.ctx, STR("arch"), &arch);
	buf_printf(b, "# %-20s %s | %.*s/%.*s | ", "context", ENV_OPAM_VERSION, STR_ARG(os), STR_ARG(arch));
	for (size_t i = 0; i < p->state.compiler.n; i++)
		buf_printf(b, "%s%.*s", i ? " " : "", STR_ARG(p->state.compiler.v[i]));
	bool pinned = env_opam_version_in(&p->state.pinned, f->package->name).p != NULL;
	buf_printf(b, " | %s%.*s\n", pinned ? "pinned" : "", p->repo_n && !pinned ? (int)p->repo[0].url.n : 0,
		   p->repo_n ? p->repo[0].url.p : "");
	buf_printf(b, "# %-20s %s\n", "path", short_path(p, f->dir));
	buf_printf(b, "# %-20s %s\n", "command", short_path(p, f->command));
	buf_printf(b, "# %-20s %d%s%s%s\n", "exit-code", f->code, f->ended ? " (" : "", f->ended ? f->ended : "",
		   f->ended ? ")" : "");
	buf_printf(b, "# %-20s %s\n", "env-file", short_path(p, f->env_file));
	buf_printf(b, "# %-20s %s\n", "output-file", short_path(p, f->out_file));
	put_output(p, f->out_file, b);
	buf_put_char(b, '\n');
}

static void put_actions(struct plan *p, const char *title, const struct build_opam_action *v, size_t n)
{
	static const char *const kinds[] = {"fetch", "build", "install", "remove"};
	bool utf8 = opam_as_utf8();
	struct opam_as_table t = {.columns = 3, .sep = " "};
	opam_as_put(p->x, "%s %s\n", utf8 ? "\xe2\x94\x8c\xe2\x94\x80" : "+-", title);
	for (size_t i = 0; i < n; i++) {
		struct str s = symbol(kinds[v[i].step]);
		opam_as_cell(&t, "%s %.*s %s", utf8 ? "\xe2\x94\x82" : "|", STR_ARG(s), kinds[v[i].step]);
		opam_as_cell(&t, "%.*s", STR_ARG(v[i].package->name));
		opam_as_cell(&t, "%.*s", STR_ARG(v[i].package->version));
	}
	opam_as_table(p->x, &t);
	opam_as_put(p->x, "%s \n", utf8 ? "\xe2\x94\x94\xe2\x94\x80" : "+-");
}

static void put_messages(struct plan *p, const struct build_opam_package *b, bool failed)
{
	const struct env_opam_local said[] = {{STR("success"), failed ? STR("false") : STR("true")},
					      {STR("failure"), failed ? STR("true") : STR("false")}};
	struct pkg_opam_host h = env_opam_host(p->vars, b->name, b->version, b->opam->file, said, 2);
	bool headed = false;
	for (size_t i = 0; i < b->opam->post_messages.n; i++) {
		const struct pkg_opam_line *l = &b->opam->post_messages.v[i];
		if (!l->n || !pkg_opam_holds(arena_of(p), l->filter, &h) ||
		    !pkg_opam_holds(arena_of(p), l->arg->filter, &h))
			continue;
		if (!headed)
			opam_as_header(p->x, "%.*s.%.*s %s", STR_ARG(b->name), STR_ARG(b->version),
				       failed ? "troubleshooting" : "installed successfully");
		headed = true;
		opam_as_put(p->x, "=> %.*s\n", STR_ARG(pkg_opam_expand(arena_of(p), l->arg->text, &h)));
	}
}

void opam_install_messages(struct plan *p, const struct build_opam_result *r)
{
	for (size_t i = 0; i < r->n_done; i++)
		if (r->done[i].step == BUILD_OPAM_INSTALL && !r->done[i].package->keep_root)
			put_messages(p, r->done[i].package, false);
	for (size_t i = 0; i < r->n_failures; i++)
		if (r->failures[i].step == BUILD_OPAM_BUILD || r->failures[i].step == BUILD_OPAM_INSTALL)
			put_messages(p, r->failures[i].package, true);
}

static int action_cmp(const void *a, const void *b)
{
	const struct build_opam_action *x = a, *y = b;
	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	int c = str_cmp(x->package->name, y->package->name);
	return c ? c : pkg_opam_version_cmp(x->package->version, y->package->version);
}

int opam_install_report(struct plan *p, const struct build_opam_result *r)
{
	struct opam_as *x = p->x;
	struct arena *a = arena_of(p);
	auto_buf b = BUF_INIT(BUF_MAX);
	struct build_opam_action *failed = arena_array(a, struct build_opam_action, r->n_failures);
	struct build_opam_action *done = arena_copy(a, r->done, r->n_done, sizeof(*done));
	bool only_fetches = r->n_failures > 0;
	for (size_t i = 0; i < r->n_failures; i++) {
		put_failure(p, &r->failures[i], &b);
		failed[i] = (struct build_opam_action){r->failures[i].step, r->failures[i].package};
		only_fetches = only_fetches && r->failures[i].step == BUILD_OPAM_FETCH;
	}
	out_tame(&b);
	out_flush(&x->c->out);
	out_put_remark(&x->c->out, buf_str(&b));
	opam_as_put(x, "\n");
	opam_as_header(x, "Error report");
	qsort(failed, r->n_failures, sizeof(*failed), action_cmp);
	qsort(done, r->n_done, sizeof(*done), action_cmp);
	if (r->n_aborted && (x->verbosity || x->c->cmd->run))
		put_actions(p, "The following actions were aborted", r->aborted, r->n_aborted);
	put_actions(p, "The following actions failed", failed, r->n_failures);
	if (r->n_done)
		put_actions(p,
			    r->n_aborted ? "The following changes have been performed (the rest was aborted)"
					 : "The following changes have been performed",
			    done, r->n_done);
	else
		opam_as_put(x, "%s No changes have been performed\n",
			    opam_as_utf8() ? "\xe2\x95\xb6\xe2\x94\x80" : "-");
	return only_fetches ? OPAM_SYNC_ERROR : OPAM_PACKAGE_ERROR;
}

static void put_action(struct jw *w, const void *ctx, size_t i)
{
	static const char *const kinds[] = {"fetch", "build", "install", "remove"};
	const struct build_opam_action *v = ctx;
	jw_kv_c(w, "action", kinds[v[i].step]);
	jw_kv_str(w, "name", v[i].package->name);
	jw_kv_str(w, "version", v[i].package->version);
}

static void put_failed(struct jw *w, const void *ctx, size_t i)
{
	static const char *const kinds[] = {"fetch", "build", "install", "remove"};
	const struct build_opam_failure *f = ctx;
	f += i;
	jw_kv_c(w, "action", kinds[f->step]);
	jw_kv_str(w, "name", f->package->name);
	jw_kv_str(w, "version", f->package->version);
	jw_kv_c(w, f->why ? "why" : "command", f->why ? f->why : f->command);
	if (!f->why) {
		jw_kv_int(w, "exit_code", f->code);
		jw_kv_c(w, "output_file", f->out_file);
	}
}

static void put_planned(struct jw *w, const void *ctx, size_t i)
{
	const struct build_opam_package *b = ctx;
	b += i;
	jw_kv_c(w, "action", b->install && b->remove ? "recompile" : b->install ? "install" : "remove");
	jw_kv_str(w, "name", b->name);
	jw_kv_str(w, "version", b->version);
}

int opam_install_answer(struct plan *p, const struct build_opam_result *r)
{
	static const char *const names[] = {"install", "reinstall", "remove", "upgrade"};
	auto_answer a = {0};
	if (!p->x->c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", names[p->w->act]);
	jw_kv_bool(w, "dry_run", r == NULL);
	jw_kv_objects(w, "actions", p->packages.n, put_planned, p->packages.v);
	opam_system_json(&p->system, p->packages.v, w);
	if (r) {
		jw_kv_objects(w, "done", r->n_done, put_action, r->done);
		jw_kv_int(w, "reused", (int64_t)r->n_reused);
		jw_kv_int(w, "kept", (int64_t)r->n_kept);
		jw_kv_objects(w, "failed", r->n_failures, put_failed, r->failures);
		jw_kv_objects(w, "aborted", r->n_aborted, put_action, r->aborted);
	}
	return cmd_answer_print(p->x->c, &a);
}
