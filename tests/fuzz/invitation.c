// SPDX-License-Identifier: Apache-2.0
/*
 * What comes from a stranger: the line that a person pastes, and the question of who wants to join. What is taken is written back as the
 * same, and a name or an address that is taken is fit to be shown and to be connected to.
 */
#include "pair/endpoint.h"
#include "pair/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line(struct str text)
{
	auto_arena a = ARENA_INIT;
	auto_buf low = BUF_INIT(INVITATION_TEXT_MAX);
	struct invitation i, again;
	struct err e = ERR_INIT;
	if (invitation_parse(&a, text, &i, &e) < 0) {
		if (e.code != ERR_USAGE || !e.msg[0])
			panic("a failure of another kind: %s", e.msg);
		return;
	}
	struct str out = invitation_text(&a, &i);
	if (str_casecmp(out, str_trim(text)) != 0)
		panic("'%.*s' became '%.*s'", STR_ARG(text), STR_ARG(out));
	if (invitation_parse(&a, out, &again, &e) < 0 || !str_eq(i.address, again.address) ||
	    memcmp(i.secret, again.secret, sizeof(i.secret)) != 0 ||
	    memcmp(i.fingerprint, again.fingerprint, sizeof(i.fingerprint)) != 0)
		panic("'%.*s' does not come back", STR_ARG(out));
}

/* The check sum would keep a fuzzer out: the rest of an invitation from the input as it is. */
static void made(struct str bytes)
{
	auto_arena a = ARENA_INIT;
	struct invitation i = {0}, again;
	struct endpoint at;
	struct err e = ERR_INIT;
	if (bytes.n < sizeof(i.secret) + sizeof(i.fingerprint))
		return;
	memcpy(i.secret, bytes.p, sizeof(i.secret));
	memcpy(i.fingerprint, bytes.p + sizeof(i.secret), sizeof(i.fingerprint));
	struct str address = str_skip(bytes, sizeof(i.secret) + sizeof(i.fingerprint));
	if (endpoint_parse(address, &at, &e) < 0)
		return;
	i.address = endpoint_text(&a, &at);
	struct endpoint same;
	if (endpoint_parse(i.address, &same, &e) < 0 || same.n != at.n || memcmp(&same.sa, &at.sa, at.n) != 0)
		panic("'%.*s' is another address: %s", STR_ARG(i.address), e.msg);
	if (invitation_parse(&a, invitation_text(&a, &i), &again, &e) < 0 || !str_eq(i.address, again.address) ||
	    memcmp(i.secret, again.secret, sizeof(i.secret)) != 0)
		panic("what was made cannot be read: %s", e.msg);
}

static void question(struct str text)
{
	auto_arena a = ARENA_INIT;
	struct join_request q;
	struct endpoint at;
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, text, "message", &e);
	if (!j || j->type != JSON_OBJECT || join_parse(j, &q, &e) < 0)
		return;
	if (endpoint_parse(q.host.address, &at, &e) < 0)
		panic("an address that is none: %s", e.msg);
	for (size_t i = 0; i < q.host.name.n; i++)
		if (q.host.name.p[i] <= ' ' || q.host.name.p[i] > '~')
			panic("a name that cannot be shown");
	if (!q.host.name.n || q.host.name.n > 64)
		panic("a name of %zu bytes", q.host.name.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size);
	if (size > 16384)
		return 0;
	line(text);
	made(text);
	question(text);
	return 0;
}
