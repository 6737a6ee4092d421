// SPDX-License-Identifier: Apache-2.0
/* A Dockerfile of a spec, line for line what OBuilder makes: what Docker has no word for (exclude, network) is left out. */
#include "build/spec.h"

struct writer {
	struct buf *out;
	const char *file;
	enum spec_docker_flags flags;
	char escape;
	struct spec_user user;
	struct err *e;
};

/* As JSON, where words are not only put between blanks. Docker takes what is no good JSON for something else. */
static void put_json(struct writer *w, const struct str *v, size_t n)
{
	buf_put_c(w->out, "[ ");
	for (size_t k = 0; k < n; k++) {
		buf_put_c(w->out, k ? ", \"" : "\"");
		for (size_t i = 0; i < v[k].n; i++) {
			if (v[k].p[i] == '"' || v[k].p[i] == '\\')
				buf_put_char(w->out, '\\');
			if ((unsigned char)v[k].p[i] < ' ' || v[k].p[i] == 0x7f)
				buf_printf(w->out, "\\u%04x", (unsigned)v[k].p[i]);
			else
				buf_put_char(w->out, v[k].p[i]);
		}
		buf_put_char(w->out, '"');
	}
	buf_put_c(w->out, " ]");
}

/* --mount=type=TYPE,id=…,target=…,uid=…,OPTIONS and a space */
static void put_mounts(struct writer *w, const char *type, const struct spec_mount *v, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const struct spec_mount *m = &v[k];
		buf_printf(w->out, "--mount=type=%s,id=", type);
		buf_put_str(w->out, m->id);
		buf_put_c(w->out, ",target=");
		buf_put_str(w->out, m->target);
		buf_printf(w->out, ",uid=%u", (unsigned)w->user.uid);
		for (size_t i = 0; i < m->n_options; i++) {
			buf_put_char(w->out, ',');
			buf_put_str(w->out, m->options[i].name);
			buf_put_char(w->out, '=');
			buf_put_str(w->out, m->options[i].value);
		}
		buf_put_char(w->out, ' ');
	}
}

/* Each line without the space around it, the next indented. */
static void put_lines(struct writer *w, struct str s)
{
	struct str line;
	while (str_take_until(&s, '\n', &line)) {
		buf_put_str(w->out, str_trim(line));
		buf_printf(w->out, " %c\n    ", w->escape);
	}
	buf_put_str(w->out, str_trim(s));
}

static void put_comment(struct writer *w, struct str s)
{
	struct str line;
	while (str_take_until(&s, '\n', &line)) {
		buf_put_c(w->out, "# ");
		buf_put_str(w->out, line);
		buf_put_char(w->out, '\n');
	}
	buf_put_c(w->out, "# ");
	buf_put_str(w->out, s);
}

/* What would end a word of --mount. */
static bool ends_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr(" \t\n\r\f\v,\"", s.p[i]))
			return true;
	return false;
}

static int check_mounts(struct writer *w, const struct spec_mount *v, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const struct spec_mount *m = &v[k];
		bool bad = ends_word(m->id) || ends_word(m->target);
		for (size_t i = 0; i < m->n_options; i++)
			bad |= ends_word(m->options[i].name) || ends_word(m->options[i].value);
		if (bad)
			return spec_error(w->file, m->at, ERR_UNSUPPORTED, w->e,
					  "BuildKit has no form for blanks, commas and quotes in the words of a mount; "
					  "make a plain Dockerfile, or take another name");
	}
	return 0;
}

static int put_run(struct writer *w, const struct spec_op *op)
{
	buf_put_c(w->out, "RUN ");
	if (w->flags & SPEC_DOCKER_BUILDKIT) {
		if (w->user.name.p && op->n_caches + op->n_secrets)
			return spec_error(w->file, op->at, ERR_UNSUPPORTED, w->e,
					  "BuildKit mounts belong to a user's number, and user '%.*s' has none; make a "
					  "plain Dockerfile, or write (user (uid N) (gid N))",
					  STR_ARG(w->user.name));
		if (check_mounts(w, op->secrets, op->n_secrets) < 0 || check_mounts(w, op->caches, op->n_caches) < 0)
			return -1;
		put_mounts(w, "secret", op->secrets, op->n_secrets);
		put_mounts(w, "cache", op->caches, op->n_caches);
	}
	put_lines(w, op->text);
	return 0;
}

/* Whether Docker reads a word between blanks as that word. */
static bool is_plain_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return !str_starts(s, STR("--")) && !str_starts(s, STR("[")) && !str_starts(s, STR("<<"));
}

static void put_copy(struct writer *w, const struct spec_op *op)
{
	buf_put_c(w->out, "COPY ");
	if (!w->user.name.p && (w->user.uid || w->user.gid))
		buf_printf(w->out, "--chown=%u:%u ", (unsigned)w->user.uid, (unsigned)w->user.gid);
	if (op->from_stage.p) {
		buf_put_c(w->out, "--from=");
		buf_put_str(w->out, op->from_stage);
		buf_put_char(w->out, ' ');
	}
	struct str *all = xcalloc(op->n_words + 1, sizeof(*all));
	bool plain = true;
	for (size_t i = 0; i <= op->n_words; i++) {
		all[i] = i < op->n_words ? op->words[i] : op->dst;
		plain &= is_plain_word(all[i]);
	}
	if (!plain)
		put_json(w, all, op->n_words + 1);
	for (size_t i = 0; plain && i <= op->n_words; i++) {
		buf_put_c(w->out, i ? " " : "");
		buf_put_str(w->out, all[i]);
	}
	free(all);
}

static void put_user(struct writer *w, const struct spec_user *user)
{
	w->user = *user;
	buf_put_c(w->out, "USER ");
	if (user->name.p)
		buf_put_str(w->out, user->name);
	else
		buf_printf(w->out, "%u:%u", (unsigned)user->uid, (unsigned)user->gid);
}

static void put_env(struct writer *w, const struct spec_pair *env)
{
	buf_put_c(w->out, "ENV ");
	buf_put_str(w->out, env->name);
	buf_put_c(w->out, "=\"");
	for (size_t i = 0; i < env->value.n; i++) {
		char c = env->value.p[i];
		if (c == '"' || c == w->escape)
			buf_put_char(w->out, w->escape);
		buf_put_char(w->out, c);
	}
	buf_put_char(w->out, '"');
}

/* What goes on a line of its own and has no form for a line's end, or for blanks in a name. */
static bool has_no_form(const struct spec_op *op)
{
	bool has = str_find(op->env.value, '\n') >= 0 || str_find(op->dst, '\n') >= 0 ||
		   str_find(op->user.name, '\n') >= 0;
	for (size_t i = 0; i < op->n_words; i++)
		has |= str_find(op->words[i], '\n') >= 0;
	return has || !is_plain_word(op->env.name) || !is_plain_word(op->from_stage) ||
	       (op->kind == SPEC_WORKDIR && str_find(op->text, '\n') >= 0);
}

static int put_op(struct writer *w, const struct spec_op *op)
{
	if (has_no_form(op))
		return spec_error(
			w->file, op->at, ERR_UNSUPPORTED, w->e,
			"a Dockerfile has no form for a line's end in this, nor for blanks and controls in a name");
	switch (op->kind) {
	case SPEC_COMMENT:
		put_comment(w, op->text);
		break;
	case SPEC_WORKDIR:
		buf_put_c(w->out, "WORKDIR ");
		buf_put_str(w->out, op->text);
		break;
	case SPEC_SHELL:
		buf_put_c(w->out, "SHELL ");
		put_json(w, op->words, op->n_words);
		break;
	case SPEC_ENV:
		put_env(w, &op->env);
		break;
	case SPEC_USER:
		put_user(w, &op->user);
		break;
	case SPEC_RUN:
		if (put_run(w, op) < 0)
			return -1;
		break;
	case SPEC_COPY:
		put_copy(w, op);
		break;
	}
	buf_put_char(w->out, '\n');
	return 0;
}

static int put_spec(struct writer *w, const struct build_spec *s, struct str name)
{
	for (size_t i = 0; i < s->n_stages; i++) {
		if (put_spec(w, &s->stages[i].spec, s->stages[i].name) < 0)
			return -1;
		buf_put_char(w->out, '\n');
	}
	w->user = (struct spec_user){0};
	if (w->flags & SPEC_DOCKER_WINDOWS)
		w->user.name = STR("ContainerAdministrator");
	if (!is_plain_word(s->from) || !is_plain_word(name))
		return spec_error(w->file, s->from_at, ERR_UNSUPPORTED, w->e,
				  "a Dockerfile has no form for blanks and controls in a name");
	buf_put_c(w->out, "FROM ");
	buf_put_str(w->out, s->from);
	if (name.p) {
		buf_put_c(w->out, " as ");
		buf_put_str(w->out, name);
	}
	buf_put_char(w->out, '\n');
	for (size_t i = 0; i < s->n_ops; i++)
		if (put_op(w, &s->ops[i]) < 0)
			return -1;
	return 0;
}

int spec_dockerfile(const struct build_spec *s, const char *file, enum spec_docker_flags flags, struct buf *out,
		    struct err *e)
{
	bool windows = (flags & SPEC_DOCKER_WINDOWS) != 0;
	struct writer w = {.out = out, .file = file, .flags = flags, .escape = windows ? '`' : '\\', .e = e};
	if (windows)
		buf_put_c(out, "#escape=`\n");
	return put_spec(&w, s, STR_NONE);
}
