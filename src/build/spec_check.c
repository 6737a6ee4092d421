// SPDX-License-Identifier: Apache-2.0
/* What a build wants beyond what can be written down. */
#include <stdarg.h>
#include <stdio.h>

#include "build/spec.h"

int spec_error(const char *file, struct spec_place at, enum err_code code, struct err *e, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_new(e, code, "%s:%u:%u: %s", file, (unsigned)at.line, (unsigned)at.column, msg);
}

static bool has_component(struct str path, const char *component)
{
	struct str part;
	while (str_take_until(&path, '/', &part))
		if (str_eq_c(part, component))
			return true;
	return str_eq_c(path, component);
}

static int check_mounts(const struct spec_mount *v, size_t n, const char *what, const char *file, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i].target.p[0] != '/')
			return spec_error(file, v[i].at, ERR_INPUT, e,
					  "the target of %s '%.*s' is to be a whole path: '/…', not '%.*s'", what,
					  STR_ARG(v[i].id), STR_ARG(v[i].target));
		if (has_component(v[i].target, ".."))
			return spec_error(file, v[i].at, ERR_INPUT, e,
					  "the target of %s '%.*s' goes through '..'; write where it leads", what,
					  STR_ARG(v[i].id));
	}
	return 0;
}

static int check_copy(const struct spec_op *op, const char *file, struct err *e)
{
	if (op->n_words > 1 && op->dst.p[op->dst.n - 1] != '/')
		return spec_error(file, op->at, ERR_INPUT, e,
				  "several sources go into a folder: write (dst %.*s/), with a '/' at its end",
				  STR_ARG(op->dst));
	for (size_t i = 0; i < op->n_words; i++)
		if (has_component(op->words[i], ".."))
			return spec_error(file, op->at, ERR_INPUT, e,
					  "'..' cannot be used in source paths ('%.*s'): nothing outside the %s is "
					  "copied",
					  STR_ARG(op->words[i]), op->from_stage.n ? "stage" : "context");
	return 0;
}

static int check_networks(const struct spec_op *op, const char *file, struct err *e)
{
	for (size_t i = 0; i < op->n_networks; i++)
		if (!str_eq_c(op->networks[i], "host"))
			return spec_error(
				file, op->networks_at, ERR_INPUT, e,
				"there is no network '%.*s' here: write (network host) for the machine's own, or leave the "
				"field out for none",
				STR_ARG(op->networks[i]));
	return 0;
}

static int check_op(const struct spec_op *op, const char *file, struct err *e)
{
	if (op->kind == SPEC_USER && op->user.name.p)
		return spec_error(file, op->at, ERR_INPUT, e,
				  "a user by name is of Windows' containers; here write (user (uid N) (gid N))");
	if (op->kind == SPEC_COPY)
		return check_copy(op, file, e);
	if (op->kind != SPEC_RUN)
		return 0;
	if (check_networks(op, file, e) < 0 || check_mounts(op->caches, op->n_caches, "cache", file, e) < 0)
		return -1;
	return check_mounts(op->secrets, op->n_secrets, "secret", file, e);
}

/* Each is put behind the one before: short words would make headings and logs of any length. */
static int check_folders(const struct build_spec *s, const char *file, struct err *e)
{
	size_t n = 1;
	for (size_t i = 0; i < s->n_ops; i++) {
		const struct spec_op *op = &s->ops[i];
		if (op->kind != SPEC_WORKDIR)
			continue;
		n = op->text.n + (op->text.p[0] == '/' ? 0 : n + 1);
		if (n > SPEC_PATH_MAX)
			return spec_error(file, op->at, ERR_LIMIT, e,
					  "the folder to work in has a path of more than %d bytes; begin it with '/'",
					  SPEC_PATH_MAX);
	}
	return 0;
}

int spec_check_build(const struct build_spec *s, const char *file, struct err *e)
{
	for (size_t i = 0; i < s->n_stages; i++)
		if (spec_check_build(&s->stages[i].spec, file, e) < 0)
			return -1;
	for (size_t i = 0; i < s->n_ops; i++)
		if (check_op(&s->ops[i], file, e) < 0)
			return -1;
	return check_folders(s, file, e);
}
