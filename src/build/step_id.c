// SPDX-License-Identifier: Apache-2.0
/* doc/formats/step-id.md. Each field is its name, the length of its value, and the value, so that no two inputs are written alike. */
#include "build/step_id.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

enum { HMAC_BLOCK = 64 };

void hmac_sha256(const void *key, size_t key_n, struct str text, uint8_t out[SHA256_SIZE])
{
	uint8_t block[HMAC_BLOCK] = {0}, inner[SHA256_SIZE];
	auto_buf b = BUF_INIT(BUF_MAX);
	if (key_n > sizeof(block))
		panic("a key of %zu bytes", key_n);
	memcpy(block, key, key_n);
	for (size_t i = 0; i < sizeof(block); i++)
		buf_put_char(&b, (char)(block[i] ^ 0x36));
	buf_put_str(&b, text);
	sha256(b.p, b.n, inner);
	explicit_bzero(b.p, b.n);
	buf_clear(&b);
	for (size_t i = 0; i < sizeof(block); i++)
		buf_put_char(&b, (char)(block[i] ^ 0x5c));
	buf_put(&b, inner, sizeof(inner));
	sha256(b.p, b.n, out);
}

static void put_field(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s %zu:", name, value.n);
	buf_put_str(b, value);
	buf_put_char(b, '\n');
}

static void put_number(struct buf *b, const char *name, uint64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	put_field(b, name, str_of(text, (size_t)len));
}

static void put_base(struct buf *b, const char *kind, const struct step_base *on)
{
	buf_printf(b, "slipway step %d\n", STEP_MEANING);
	put_field(b, "kind", str_c(kind));
	put_field(b, "machine", on->machine);
	put_field(b, "base", str_c(on->layer->hex));
	put_number(b, "uid", on->uid);
	put_number(b, "gid", on->gid);
}

static void finish(const struct buf *b, struct layer_id *ret)
{
	uint8_t digest[SHA256_SIZE];
	sha256(b->p, b->n, digest);
	hex_encode(digest, sizeof(digest), ret->hex);
}

void step_id_run(const struct step_run *r, struct layer_id *ret)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	put_base(&b, "run", &r->on);
	put_field(&b, "workdir", r->workdir);
	put_number(&b, "env", r->n_env);
	for (size_t i = 0; i < r->n_env; i++) {
		put_field(&b, "name", r->env[i].name);
		put_field(&b, "value", r->env[i].value);
	}
	put_number(&b, "shell", r->n_shell);
	for (size_t i = 0; i < r->n_shell; i++)
		put_field(&b, "word", r->shell[i]);
	put_field(&b, "command", r->command);
	put_field(&b, "network", r->network_host ? STR("host") : STR("none"));
	put_number(&b, "caches", r->n_caches);
	for (size_t i = 0; i < r->n_caches; i++) {
		put_field(&b, "cache", r->caches[i].name);
		put_field(&b, "target", r->caches[i].target);
	}
	put_number(&b, "secrets", r->n_secrets);
	for (size_t i = 0; i < r->n_secrets; i++) {
		uint8_t mac[SHA256_SIZE];
		hmac_sha256(r->key->bytes, sizeof(r->key->bytes), r->secrets[i].value, mac);
		put_field(&b, "target", r->secrets[i].target);
		put_field(&b, "secret", str_of((const char *)mac, sizeof(mac)));
	}
	finish(&b, ret);
}

void step_id_copy(const struct step_copy *c, struct layer_id *ret)
{
	static const char *const kinds[] = {
		[STEP_ENTRY_FILE] = "file", [STEP_ENTRY_EXEC] = "exec", [STEP_ENTRY_LINK] = "link", [STEP_ENTRY_DIR] = "dir"};
	auto_buf b = BUF_INIT(BUF_MAX);
	put_base(&b, "copy", &c->on);
	put_field(&b, "dst", c->dst);
	put_field(&b, "into", c->into ? STR("yes") : STR("no"));
	put_number(&b, "entries", c->n_entries);
	for (size_t i = 0; i < c->n_entries; i++) {
		const struct step_entry *f = &c->entries[i];
		put_field(&b, kinds[f->kind], f->path);
		if (f->kind == STEP_ENTRY_LINK)
			put_field(&b, "target", f->target);
		else if (f->kind != STEP_ENTRY_DIR)
			put_field(&b, "sha256", str_of((const char *)f->sha256, sizeof(f->sha256)));
	}
	finish(&b, ret);
}

/* By name; those of one name keep their order, which qsort does not promise: it is in `at`. */
struct placed {
	struct step_pair pair;
	size_t at;
};

static int by_name(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	int c = str_cmp(x->pair.name, y->pair.name);
	return c ? c : (x->at > y->at) - (x->at < y->at);
}

size_t step_env(struct step_pair *v, size_t n)
{
	auto_free struct placed *p = xcalloc(n + 1, sizeof(*p));
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		p[i] = (struct placed){v[i], i};
	qsort(p, n, sizeof(*p), by_name);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(p[i].pair.name, p[i - 1].pair.name))
			v[kept++] = p[i].pair;
	return kept;
}
