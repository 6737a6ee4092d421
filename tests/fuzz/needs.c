// SPDX-License-Identifier: Apache-2.0
/* Formulas of the three ecosystems, a line each: deb, rpm, opam, a filter of opam, what a person asks opam for. Read ones are shown, and
 * their ranges asked. */
#include "base/err.h"
#include "pkg/pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool variable(void *ctx, struct str name, struct str *ret)
{
	(void)ctx;
	*ret = str_eq_c(name, "os") ? STR("linux") : str_eq_c(name, "build") ? STR("true") : STR("2.0~1");
	return !str_eq_c(name, "x");
}

static void walk(const struct pkg_need *n, pkg_version_cmp_fn *cmp)
{
	for (; n; n = n->left) {
		if (n->op == PKG_NEED_NAME && n->range && n->range->version.n &&
		    pkg_range_has(n->range, n->range->version, cmp) !=
			    (n->range->op == PKG_UP_TO || n->range->op == PKG_EXACTLY || n->range->op == PKG_FROM))
			panic("'%.*s' and itself", STR_ARG(n->range->version));
		if (n->op != PKG_NEED_NAME && (!n->left || !n->right))
			panic("half a formula");
		if (n->right && n->right->op == PKG_NEED_NAME)
			walk(n->right, cmp);
	}
}

static void use(const struct pkg_need *n, pkg_version_cmp_fn *cmp)
{
	auto_buf b = BUF_INIT(1 << 20);
	pkg_need_format(n, &b);
	if (n && !b.n)
		panic("a formula shown as nothing");
	walk(n, cmp);
}

/* A formula as the value of a field, and a filter. */
static void opam(struct arena *a, struct str formula, struct str filter)
{
	const struct pkg_opam_host host = {.variable = variable};
	const struct pkg_opam_expr *x;
	const struct pkg_need *n;
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	const char *text = arena_printf(a, "f: %s\nv: %s\n", arena_strdup(a, formula), arena_strdup(a, filter));
	(void)pkg_opam_read(a, str_c(text), "opam", &d, &e);
	for (int any = 0; any < 2; any++)
		if (pkg_opam_formula_of(a, &d, pkg_opam_get(&d, "f"), any, &x, &e) == 0 &&
		    pkg_opam_need_of(a, x, &host, &n, &e) == 0)
			use(n, pkg_opam_version_cmp);
	if (pkg_opam_filter_of(a, &d, pkg_opam_get(&d, "v"), &x, &e) == 0)
		(void)pkg_opam_holds(a, x, &host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size), line[5] = {{0}};
	const struct pkg_need *n;
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	for (int i = 0; i < 5; i++)
		(void)str_take_line(&text, &line[i]);
	if (pkg_deb_need_parse(&a, line[0], &n, &e) == 0)
		use(n, pkg_deb_version_cmp);
	if (pkg_rpm_need_parse(&a, line[1], &n, &e) == 0)
		use(n, pkg_rpm_version_cmp);
	opam(&a, line[2], line[3]);
	if (pkg_opam_spec_parse(&a, line[4], &n, &e) == 0)
		use(n, pkg_opam_version_cmp);
	return 0;
}
