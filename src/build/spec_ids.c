// SPDX-License-Identifier: Apache-2.0
/*
 * OBuilder's ids: SHA-256 of an expression in machine form. Its formula knows nothing of modes, owners and times of what is copied, nor of
 * caches, and has the values of secrets in it: that is why the engine has its own (step_id.h).
 */
#include "base/digest.h"
#include "base/sexp.h"
#include "build/build.h"
#include "build/source.h"
#include "build/spec.h"

/* An expression that is being written. */
struct writer {
	struct buf b;
	bool bare; /* sexp_put_atom's */
};

static void open_list(struct writer *w)
{
	buf_put_char(&w->b, '(');
	w->bare = false;
}

static void close_list(struct writer *w)
{
	buf_put_char(&w->b, ')');
	w->bare = false;
}

static void put(struct writer *w, struct str atom)
{
	sexp_put_atom(&w->b, atom, &w->bare);
}

/* "(NAME", to be closed. */
static void begin(struct writer *w, const char *name)
{
	open_list(w);
	put(w, str_c(name));
}

static void put_field(struct writer *w, const char *name, struct str value)
{
	begin(w, name);
	put(w, value);
	close_list(w);
}

static void put_list_field(struct writer *w, const char *name, const struct str *v, size_t n)
{
	begin(w, name);
	open_list(w);
	for (size_t i = 0; i < n; i++)
		put(w, v[i]);
	close_list(w);
	close_list(w);
}

static void put_number_field(struct writer *w, const char *name, uint32_t n)
{
	auto_buf b = BUF_INIT(20);
	buf_printf(&b, "%u", (unsigned)n);
	put_field(w, name, buf_str(&b));
}

static struct spec_id id_of(struct str text)
{
	uint8_t sha[SHA256_SIZE];
	struct spec_id id;
	sha256(text.p, text.n, sha);
	hex_encode(sha, sizeof(sha), id.hex);
	return id;
}

struct spec_id spec_id_from(struct str image)
{
	return id_of(image);
}

static void put_user(struct writer *w, const struct spec_user *user)
{
	begin(w, "user");
	open_list(w);
	if (user->name.p) {
		put_field(w, "name", user->name);
	} else {
		put_number_field(w, "uid", user->uid);
		put_number_field(w, "gid", user->gid);
	}
	close_list(w);
	close_list(w);
}

static void put_env(struct writer *w, const struct spec_context *c)
{
	begin(w, "env");
	open_list(w);
	for (size_t i = 0; i < c->n_env; i++) {
		open_list(w);
		put(w, c->env[i].name);
		put(w, c->env[i].value);
		close_list(w);
	}
	close_list(w);
	close_list(w);
}

static struct str secret_value(struct str id, const struct build_secret *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].id, id))
			return v[i].value;
	return STR("");
}

/* The last one first. */
static void put_secrets(struct writer *w, const struct spec_op *op, const struct build_secret *v, size_t n)
{
	begin(w, "mount_secrets");
	open_list(w);
	for (size_t i = op->n_secrets; i-- > 0;) {
		open_list(w);
		put_field(w, "value", secret_value(op->secrets[i].id, v, n));
		put_field(w, "target", op->secrets[i].target);
		close_list(w);
	}
	close_list(w);
	close_list(w);
}

struct spec_id spec_id_run(const struct spec_id *base, const struct spec_context *c, const struct spec_op *op,
			   const struct build_secret *secrets, size_t n_secrets)
{
	struct writer w = {.b = BUF_INIT(BUF_MAX)};
	open_list(&w);
	put_field(&w, "base", str_c(base->hex));
	put_field(&w, "workdir", c->workdir);
	put_user(&w, &c->user);
	put_env(&w, c);
	put_field(&w, "cmd", op->text);
	put_list_field(&w, "shell", c->shell, c->n_shell);
	put_list_field(&w, "network", op->networks, op->n_networks);
	put_secrets(&w, op, secrets, n_secrets);
	close_list(&w);
	struct spec_id id = id_of(buf_str(&w.b));
	buf_release(&w.b);
	return id;
}

/* -- copies -------------------------------------------------------------------------------------------------------- */

static void begin_entry(struct writer *w, const struct source_entry *f)
{
	static const char *const names[] = {[SOURCE_FILE] = "File", [SOURCE_LINK] = "Symlink", [SOURCE_DIR] = "Dir"};
	begin(w, names[f->kind]);
	open_list(w);
	put(w, f->path);
}

static void close_dir(struct writer *w)
{
	close_list(w); /* what it holds */
	close_list(w); /* path and that */
	close_list(w); /* Dir */
}

static void put_item(struct writer *w, const struct source_entry *f, size_t n)
{
	char hex[SHA256_HEX_SIZE];
	unsigned open = 0;
	for (size_t i = 0; i < n; i++) {
		for (; open > f[i].depth; open--)
			close_dir(w);
		begin_entry(w, &f[i]);
		if (f[i].kind == SOURCE_DIR) {
			open_list(w);
			open++;
			continue;
		}
		hex_encode(f[i].sha256, SHA256_SIZE, hex);
		put(w, f[i].kind == SOURCE_FILE ? str_c(hex) : f[i].target);
		close_list(w);
		close_list(w);
	}
	for (; open; open--)
		close_dir(w);
}

void spec_put_manifest(const struct source *s, size_t item, struct buf *out)
{
	struct writer w = {.b = BUF_INIT(BUF_MAX)};
	put_item(&w, s->entries + s->items[item].first, s->items[item].n);
	buf_put_str(out, buf_str(&w.b));
	buf_release(&w.b);
}

struct spec_id spec_id_copy(const struct spec_id *base, const struct spec_context *c, const struct spec_op *op,
			    const struct source *s, struct arena *a)
{
	struct writer w = {.b = BUF_INIT(BUF_MAX)};
	struct str dst = spec_context_path(c, op->dst, a);
	bool items = str_ends(dst, STR("/"));
	open_list(&w);
	put_field(&w, "base", str_c(base->hex));
	put_user(&w, &c->user);
	begin(&w, "op");
	begin(&w, items ? "Copy_items" : "Copy_item");
	open_list(&w);
	if (items)
		open_list(&w);
	for (size_t i = 0; i < s->n_items; i++)
		put_item(&w, s->entries + s->items[i].first, s->items[i].n);
	if (items)
		close_list(&w);
	put(&w, dst);
	for (int i = 0; i < 4; i++)
		close_list(&w);
	struct spec_id id = id_of(buf_str(&w.b));
	buf_release(&w.b);
	return id;
}
