// SPDX-License-Identifier: Apache-2.0
/* What holds at an operation: OBuilder's rules, textual ones included ("/usr" and "local" make "/usr/local", ".." stays). */
#include "build/spec.h"

struct spec_context spec_context_of(const struct str *image_env, size_t n, struct arena *a)
{
	static const struct str shell[] = {{"/usr/bin/env", 12}, {"bash", 4}, {"-c", 2}};
	struct spec_pair *env = arena_array(a, struct spec_pair, n);
	for (size_t i = 0; i < n; i++) {
		struct str value = image_env[i], name;
		if (!str_take_until(&value, '=', &name)) {
			name = value;
			value = STR("");
		}
		env[i] = (struct spec_pair){arena_str(a, name), arena_str(a, value)};
	}
	return (struct spec_context){.env = env, .n_env = n, .workdir = STR("/"), .shell = shell, .n_shell = 3};
}

/* Room for one more in front. */
static void make_room(struct spec_context *c, struct arena *a)
{
	size_t more = c->n_env + 16;
	struct spec_pair *env = arena_array(a, struct spec_pair, more + c->n_env);
	memcpy(env + more, c->env, c->n_env * sizeof(*env));
	c->env = env + more;
	c->room_env = more;
}

/* In front; the first of that name goes away. */
static void set_env(struct spec_context *c, const struct spec_pair *p, struct arena *a)
{
	size_t i = 0;
	while (i < c->n_env && !str_eq(c->env[i].name, p->name))
		i++;
	if (i == c->n_env) {
		if (c->room_env == 0)
			make_room(c, a);
		c->env--;
		c->room_env--;
		c->n_env++;
	} else {
		memmove(c->env + 1, c->env, i * sizeof(*c->env));
	}
	c->env[0] = *p;
}

struct str spec_context_path(const struct spec_context *c, struct str path, struct arena *a)
{
	if (path.n && path.p[0] == '/')
		return path;
	/* one '/' between them, as OCaml's Filename.concat puts it */
	const char *between = c->workdir.n && c->workdir.p[c->workdir.n - 1] == '/' ? "" : "/";
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_str(&b, c->workdir);
	buf_put_c(&b, between);
	buf_put_str(&b, path);
	return arena_str(a, buf_str(&b));
}

void spec_context_step(struct spec_context *c, const struct spec_op *op, struct arena *a)
{
	switch (op->kind) {
	case SPEC_WORKDIR:
		c->workdir = spec_context_path(c, op->text, a);
		break;
	case SPEC_SHELL:
		c->shell = op->words;
		c->n_shell = op->n_words;
		break;
	case SPEC_ENV:
		set_env(c, &op->env, a);
		break;
	case SPEC_USER:
		c->user = op->user;
		break;
	case SPEC_COMMENT:
	case SPEC_RUN:
	case SPEC_COPY:
		break;
	}
}
