// SPDX-License-Identifier: Apache-2.0
/* What the agent brings to rest in an environment, on a host of its own and on a member whose other one does not answer. */
#include "lib/host.h"

#include "agent/agent.h"

/* As pair_join leaves it; nobody listens at the other one's address. */
static void join_a_pair(struct host *h)
{
	static const char *const files[][2] = {{"pair/self", "1"}, {"pair/peer", "2"}};
	CHECK(fs_mkdirs(h->w.root_fd, "pair", 0755, &h->w.err) == 0);
	for (size_t i = 0; i < 2; i++) {
		const char *text = arena_printf(&h->w.arena,
						"{\"format\": 1, \"name\": \"m%s\", \"address\": \"127.0.0.1:%s\", "
						"\"fingerprint\": \"%064d\", \"number\": %s}",
						files[i][1], files[i][1], (int)i, files[i][1]);
		CHECK_MSG(fs_replace(h->w.root_fd, files[i][0], text, strlen(text), 0, &h->w.err) == 0, "%s",
			  h->w.err.msg);
	}
}

/* As an abort leaves it that could not be carried to its end. */
static void stick(struct host *h, bool paired)
{
	struct env_operation op;
	struct env_lock_package p[] = {web(h, "1.1", ""), envs_simple(&h->w, "lib", "1")};
	must(h, add_of(h, p, 2));
	must(h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	CHECK(env_operation_get(h->w.st, &h->w.arena, STR("e"), &op, &h->w.err) == 1);
	op.state = STR("needs-manual-abort");
	if (paired)
		op.detail = STR("{\"paired\": true}");
	CHECK_INT(env_operation_put(h->hold, &op, &h->w.err), 0);
	host_release(h);
}

static int settle(struct host *h)
{
	const struct agent_opts o = {
		.root_fd = h->w.root_fd, .root_path = h->w.root, .version = "test", .command = "slipway agent"};
	buf_clear(&h->log);
	h->w.err = ERR_INIT;
	return agent_settle(&o, &h->services, STR("e"), &h->w.err);
}

static void comes_back(bool member)
{
	auto_host h = {0};
	first(&h, "");
	stick(&h, false);
	if (member)
		join_a_pair(&h);
	CHECK_MSG(settle(&h) == 0, "%s", h.w.err.msg);
	CHECK_MSG(!status_of(&h).in_progress, "%.*s", STR_ARG(status_of(&h).state));
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
	CHECK_MSG(strstr(h.log.p, "hand-over web 1;"), "%s", h.log.p);
}

TEST(an_abort_that_was_stuck_is_tried_again)
{
	comes_back(false);
}

TEST(on_a_member_too_where_it_is_of_before_the_pair)
{
	comes_back(true);
}

TEST(one_of_both_members_goes_back_alone)
{
	auto_host h = {0};
	first(&h, "");
	stick(&h, true);
	join_a_pair(&h);
	(void)settle(&h);
	CHECK_MSG(!status_of(&h).in_progress, "%.*s", STR_ARG(status_of(&h).state));
	CHECK(info_of(&h).current == 1);
}
