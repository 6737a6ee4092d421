// SPDX-License-Identifier: Apache-2.0
/*
 * A file of opam's format. Whatever it is: it is read, printed back byte for byte where it has no fault, laid out so that it says the same, and its
 * fields, filters and texts are decided by a host that knows a few variables.
 */
#include "base/err.h"
#include "pkg/pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool variable(void *ctx, struct str name, struct str *ret)
{
	(void)ctx;
	*ret = name.n % 3 == 0 ? STR("true") : name.n % 3 == 1 ? STR("1.0-%{os}%\"") : STR("false");
	return !str_starts(name, STR("u"));
}

static void use_lines(struct arena *a, const struct pkg_opam_lines *l, const struct pkg_opam_host *h)
{
	const struct str *words;
	for (size_t i = 0; i < l->n; i++)
		if (pkg_opam_argv(a, &l->v[i], h, &words) > l->v[i].n)
			panic("more words than arguments");
}

static void use_formula(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h)
{
	const struct pkg_need *n;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	if (pkg_opam_need_of(a, x, h, &n, &e) == 0)
		pkg_need_format(n, &b);
	pkg_opam_expr_format(x, &b);
}

static void check_print(struct arena *a, const struct pkg_opam_doc *d)
{
	auto_buf same = BUF_INIT(BUF_MAX), laid = BUF_INIT(BUF_MAX), edited = BUF_INIT(BUF_MAX);
	struct pkg_opam_doc again;
	struct err e = ERR_INIT;
	pkg_opam_print(d, &same);
	if (!str_eq(buf_str(&same), d->text))
		panic("printed otherwise");
	pkg_opam_print_normal(d->first, &laid);
	if (d->faults || laid.n > PKG_OPAM_FILE_MAX)
		return;
	if (pkg_opam_read(a, buf_str(&laid), "laid out", &again, &e) < 0)
		panic("%s", e.msg);
	if (!pkg_opam_same(d->first, again.first))
		panic("laid out it says something else: %s", laid.p);
	pkg_opam_edit(d, "version", pkg_opam_make(a, PKG_OPAM_STRING, STR("x")), &edited);
	if (edited.n <= PKG_OPAM_FILE_MAX && pkg_opam_read(a, buf_str(&edited), "edited", &again, &e) < 0)
		panic("%s", e.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pkg_opam_host host = {.variable = variable, .self = {"me", 2}};
	struct str text = str_of((const char *)data, size);
	auto_arena a = ARENA_INIT;
	struct pkg_opam_doc d;
	struct pkg_opam p;
	struct err e = ERR_INIT;
	int rc = pkg_opam_read(&a, text, "f", &d, &e);
	if ((rc < 0) != (e.msg[0] != 0) || (rc < 0) != (d.faults > 0))
		panic("%d with '%s', %zu faults", rc, e.msg, d.faults);
	check_print(&a, &d);
	(void)pkg_opam_package(&a, &d, &p, &e);
	use_lines(&a, &p.build, &host);
	use_lines(&a, &p.depexts, &host);
	use_lines(&a, &p.patches, &host);
	use_formula(&a, p.depends, &host);
	use_formula(&a, p.depopts, &host);
	use_formula(&a, p.conflicts, &host);
	(void)pkg_opam_holds(&a, p.available, &host);
	(void)pkg_opam_subst(&a, text, &host);
	return 0;
}
