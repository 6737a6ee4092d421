// SPDX-License-Identifier: Apache-2.0
/*
 * Signed metadata of a stranger; the first byte says which: r(oot), t(imestamp), s(napshot), g for targets; or p: a pattern, a line end, a path.
 * What is taken as one kind is not taken as another; its canonical form is the canonical form of itself; everything in it is found again; its
 * signatures are counted without a crash and never beyond its keys; a pattern says what a slow and simple matcher says.
 */
#include "base/digest.h"
#include "tuf/canonical.h"
#include "tuf/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const struct meta *m)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(m->canonical.n);
	struct err e = ERR_INIT;
	bool has_controls = false;
	for (size_t i = 0; i < m->canonical.n; i++)
		has_controls |= (unsigned char)m->canonical.p[i] < 0x20;
	if (has_controls)
		return; /* canonical JSON does not escape them, so it is no JSON */
	const struct json *j = json_parse(&a, m->canonical, "canonical", &e);
	if (!j || canonical_put(&b, j, &e) < 0 || !str_eq(buf_str(&b), m->canonical))
		panic("the canonical form is not its own: %s", e.msg);
}

static void check_signers(struct meta *m, const struct meta_role *role)
{
	int64_t n = meta_signatures(m, m, role);
	struct err e = ERR_INIT;
	if (n < 0 || n > role->keyid_n || n > m->sig_n || n > m->key_n)
		panic("more signatures than keys");
	if ((meta_verify(m, m, role, &e) == 0) != (n >= role->threshold) || role->threshold < 1)
		panic("the threshold does not count");
}

static void check_found(struct meta *m)
{
	for (uint32_t i = 0; i < m->file_n; i++)
		if (meta_file_find(m, m->file[i].name) != &m->file[i])
			panic("a file is not found");
	for (uint32_t i = 0; m->targets && i < m->targets->n; i++) {
		const struct json_member *t = &m->targets->member[i];
		struct meta_hashes h;
		struct err e = ERR_INIT;
		if (meta_target_find(m, t->key) != &t->value || meta_hashes_read(&t->value, false, &h, &e) < 0 ||
		    meta_hashes_check(&h, STR("x"), &e) == 0)
			panic("a target is not found, or is 'x'");
	}
	for (uint32_t i = 0; i < m->delegation_n; i++) {
		auto_buf quoted = BUF_INIT(1 << 20);
		put_quoted(&quoted, m->delegation[i].name, false);
		if (meta_is_top_level(m->delegation[i].name) || !quoted.n || strpbrk(quoted.p, "/?#\\ "))
			panic("a role cannot have that name: '%s'", quoted.p);
		check_signers(m, &m->delegation[i].role);
	}
	if (m->bins.bits)
		check_signers(m, &m->bins.role);
}

static void check(enum meta_kind kind, struct str text)
{
	auto_ptr(meta) m = NULL, other = NULL;
	struct err e = ERR_INIT;
	if (meta_parse(kind, text, "text", &m, &e) < 0) {
		if (!e.code || !e.msg[0])
			panic("a failure without a word");
		return;
	}
	if (m->version < 1 || m->kind != kind)
		panic("a version below 1, or another kind");
	for (int i = 0; i < META_KINDS; i++)
		if (i != (int)kind && meta_parse(i, text, "text", &other, &e) == 0)
			panic("of two kinds");
	for (int i = 0; kind == META_ROOT && i < META_KINDS; i++)
		check_signers(m, &m->role[i]);
	if (kind == META_ROOT && !meta_keys_kept(m, m, META_TIMESTAMP))
		panic("keys that are not kept by themselves");
	check_canonical(m);
	check_found(m);
	auto_buf expires = BUF_INIT(64);
	int64_t again;
	clock_put_iso(&expires, m->expires_ms);
	if (!tuf_time(buf_str(&expires), &again) || again != m->expires_ms)
		panic("a time that does not come back: %s", expires.p);
}

/* Without sets: they are the same function in both. */
static bool slow(struct str pattern, struct str path)
{
	if (!pattern.n)
		return !path.n;
	if (pattern.p[0] == '*')
		return slow(str_skip(pattern, 1), path) ||
		       (path.n && path.p[0] != '/' && slow(pattern, str_skip(path, 1)));
	return path.n && (pattern.p[0] == path.p[0] || (pattern.p[0] == '?' && path.p[0] != '/')) &&
	       slow(str_skip(pattern, 1), str_skip(path, 1));
}

static void patterns(struct str text)
{
	struct str pattern;
	if (!str_take_until(&text, '\n', &pattern))
		return;
	bool matches = path_matches(pattern, text);
	if (str_find(pattern, '[') >= 0 || pattern.n > 12 || text.n > 24)
		return;
	if (matches != slow(pattern, text))
		panic("'%.*s' and '%.*s'", STR_ARG(pattern), STR_ARG(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char kinds[] = "rtsg";
	struct str text = str_of((const char *)data, size);
	if (!size)
		return 0;
	const char *kind = memchr(kinds, data[0], 4);
	if (kind)
		check((enum meta_kind)(kind - kinds), str_skip(text, 1));
	else if (data[0] == 'p')
		patterns(str_skip(text, 1));
	return 0;
}
