// SPDX-License-Identifier: Apache-2.0
/*
 * The lines of an upgrade: stages, steps, what each member did in them, and how they ended.
 *
 * A step is shown when it begins; that something is performed, when the first member is named in it; and at its end on which members
 * it passed. On one host there is one member, which nobody names.
 */
#include "cmd/upgrade_show.h"

#include <stdio.h>

/* Steps as the log names them, and as they are shown while they run. */
static const char *shown_step(const char *name)
{
	return strcmp(name, "Activate") == 0 ? "install_active" : strcmp(name, "Commit") == 0 ? "install_commit" : name;
}

static bool is_on_all(const char *step)
{
	static const char *const names[] = {"Add", "install_abort", "install_remove", "clear_install_state",
					    "auto_abort_timer_stop"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(step, names[i]) == 0)
			return true;
	return false;
}

static void show_begin(struct cmd_upgrade *u, const char *name)
{
	struct out *o = &u->c->out;
	u->step = name;
	memset(&u->members, 0, sizeof(u->members));
	out_line(o, "--- Starting %s ---", shown_step(name));
	if (u->paired)
		return;
	out_line(o, "Performing %s on all members", shown_step(name));
	out_line(o, "  [1] %s package(s) on member 1", shown_step(name));
	u->members[1].named = true;
}

static void show_member(struct cmd_upgrade *u, const struct upgrade_event *v)
{
	struct out *o = &u->c->out;
	uint32_t n = v->member;
	if (!n) {
		out_line(o, "--- %s ---%s", v->text, v->done ? "" : " failed");
		return;
	}
	if (n > PAIR_MEMBERS || !u->step)
		return;
	bool first = !u->members[1].named && !u->members[2].named;
	if (first && is_on_all(v->text))
		out_line(o, "Performing %s on all members", v->text);
	else if (first)
		out_line(o, "Performing %s on member %u", v->text, n);
	u->members[n].named = true;
	if (!v->done) {
		out_line(o, "  [%u] %s package(s) on member %u", n, v->text, n);
		return;
	}
	u->members[n].failed = v->failure != NULL;
	if (v->failure)
		out_line(o, "    %s", cmd_typed(u->c, v->failure->msg));
	out_line(o, "  [%u] Finished %s on member %u", n, v->text, n);
}

static void put_members(const struct cmd_upgrade *u, bool failed, struct buf *b)
{
	bool any = false;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		if (!u->members[n].named || u->members[n].failed != failed)
			continue;
		buf_printf(b, "%s%u", any ? " " : failed ? "Failed on [" : "Passed on [", n);
		any = true;
	}
	if (any)
		buf_put_char(b, ']');
}

static void show_members(struct cmd_upgrade *u, const char *name)
{
	struct out *o = &u->c->out;
	auto_buf passed = BUF_INIT(64), failed = BUF_INIT(64);
	put_members(u, false, &passed);
	put_members(u, true, &failed);
	if (is_on_all(name) || !u->paired)
		out_line(o, "Checking status of %s on [%s]", shown_step(name),
			 u->members[1].named && u->members[2].named ? "1 2"
			 : u->members[2].named			    ? "2"
								    : "1");
	out_line(o, "%s: %s%s%s", shown_step(name), passed.n ? passed.p : "", passed.n && failed.n ? ". " : "",
		 failed.n ? failed.p : "");
}

static void show_finish(struct cmd_upgrade *u, const char *name, const struct err *failure)
{
	struct out *o = &u->c->out;
	bool is_step = u->step && strcmp(u->step, name) == 0;
	if (is_step && !u->paired) {
		u->members[1].failed = failure != NULL;
		if (!failure)
			out_line(o, "  [1] Finished %s on member 1", shown_step(name));
	}
	if (is_step && (u->members[1].named || u->members[2].named))
		show_members(u, name);
	else if (is_step && failure)
		out_line(o, "%s: Failed: %s", name, cmd_typed(u->c, failure->msg));
	if (is_step && !failure && strcmp(name, "initial file syncing") == 0)
		out_line(o, "Info: Finished copying to the selected member(s)");
	if (is_step)
		u->step = NULL;
	out_line(o, "Finished %s", shown_step(name));
	out_line(o, "%s", "");
}

void upgrade_show(struct cmd_upgrade *u, const struct upgrade_event *v)
{
	struct out *o = &u->c->out;
	switch (v->kind) {
	case UPGRADE_EVENT_STAGE:
		out_line(o, "STAGE %lld: %s%s", (long long)v->number, v->text,
			 v->number ? "" : " before starting ISSU");
		out_line(o, "=====");
		break;
	case UPGRADE_EVENT_BEGIN:
		show_begin(u, v->text);
		break;
	case UPGRADE_EVENT_MEMBER:
		show_member(u, v);
		break;
	case UPGRADE_EVENT_FINISH:
		show_finish(u, v->text, v->failure);
		break;
	case UPGRADE_EVENT_NOTE:
		if (v->member)
			out_line(o, "[%u]: %s", v->member, cmd_typed(u->c, v->text));
		else
			out_line(o, "NOTE: %s", cmd_typed(u->c, v->text));
		break;
	case UPGRADE_EVENT_TIMER:
		out_line(o, "Install auto abort timer will expire in %lld seconds", (long long)(v->number / 1000));
		break;
	case UPGRADE_EVENT_START:
	case UPGRADE_EVENT_STATE:
	case UPGRADE_EVENT_END:
		break;
	}
	out_flush(o);
}

void upgrade_send(struct cmd_upgrade *u, const struct upgrade_event *v)
{
	static const char *const kinds[] = {
		[UPGRADE_EVENT_START] = "start",   [UPGRADE_EVENT_STAGE] = "stage", [UPGRADE_EVENT_BEGIN] = "step",
		[UPGRADE_EVENT_MEMBER] = "member", [UPGRADE_EVENT_FINISH] = "step", [UPGRADE_EVENT_STATE] = "state",
		[UPGRADE_EVENT_NOTE] = "note",	   [UPGRADE_EVENT_TIMER] = "timer", [UPGRADE_EVENT_END] = "end",
	};
	auto_buf b = BUF_INIT(1 << 16), at = BUF_INIT(64);
	struct jw w = JW_INIT(&b, 0);
	if (u->c->out.progress_fd < 0)
		return;
	clock_put_iso(&at, v->at_ms);
	jw_object(&w);
	jw_kv_c(&w, "event", "upgrade");
	jw_kv_c(&w, "kind", kinds[v->kind]);
	if (v->kind == UPGRADE_EVENT_STAGE || v->kind == UPGRADE_EVENT_TIMER)
		jw_kv_int(&w, v->kind == UPGRADE_EVENT_STAGE ? "stage" : "left_ms", v->number);
	if (v->member)
		jw_kv_int(&w, "member", v->member);
	jw_kv_bool(&w, "done", v->done);
	jw_kv_c(&w, "text", v->text);
	if (v->failure)
		jw_kv_c(&w, "failure", v->failure->msg);
	jw_kv_c(&w, "at", at.p);
	jw_object_end(&w);
	out_send(&u->c->out, &b);
}
