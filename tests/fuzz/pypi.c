// SPDX-License-Identifier: Apache-2.0
/*
 * A page of an index of Python packages, HTML or JSON: what is read is written as both, and read again says the same; every file
 * has a place below packages/. The same text as a list of projects.
 */
#include "channel/pypi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_files(struct arena *a, const struct pypi_page *p)
{
	for (size_t k = 0; k < p->n; k++) {
		struct channel_item i;
		if (!pypi_item(a, p, &p->file[k], &i))
			continue;
		if (!channel_path_is_normal(i.path) || !str_starts(i.path, STR("packages/")))
			panic("path '%.*s'", STR_ARG(i.path));
		enum channel_file what = channel_kind_file(channel_kind(STR("pypi")), i.path);
		if (what != i.what && what != CHANNEL_FILE_NAMED)
			panic("'%.*s' is of another class", STR_ARG(i.path));
	}
}

static void write_again(struct arena *a, struct str text, const char *form, struct buf *ret)
{
	struct err e = ERR_INIT;
	struct pypi_page p;
	if (pypi_page_read(a, STR("x"), text, form, &p, &e) < 0)
		panic("%s in: %.*s", e.msg, STR_ARG(text));
	pypi_page_localize(a, &p);
	form[0] == 'j' ? pypi_page_json(&p, ret) : pypi_page_html(&p, ret);
	if (p.left_out)
		panic("left out: %.*s", STR_ARG(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size);
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct pypi_page p;
	struct pypi_index x;
	auto_buf json = BUF_INIT(BUF_MAX), html = BUF_INIT(BUF_MAX), json2 = BUF_INIT(BUF_MAX),
		 html2 = BUF_INIT(BUF_MAX);
	if (pypi_page_read(&a, STR("x"), text, "page", &p, &e) == 0) {
		check_files(&a, &p);
		pypi_page_localize(&a, &p);
		pypi_page_json(&p, &json);
		pypi_page_html(&p, &html);
		write_again(&a, buf_str(&json), "json", &json2);
		write_again(&a, buf_str(&html), "html", &html2);
		if (!str_eq(buf_str(&json), buf_str(&json2)))
			panic("JSON: %s\n%s", json.p, json2.p);
		/* the version differs, since only JSON has sizes */
		const char *body = strstr(html.p, "<body>"), *body2 = strstr(html2.p, "<body>");
		if (strcmp(body, body2) != 0)
			panic("HTML: %s\n%s", html.p, html2.p);
	} else if (!e.msg[0]) {
		panic("no reason");
	}
	if (pypi_index_read(&a, text, "index", &x, &e) == 0) {
		struct pypi_index y;
		buf_clear(&html2);
		pypi_index_html(&x, &html2);
		if (pypi_index_read(&a, buf_str(&html2), "index", &y, &e) < 0 || x.n != y.n)
			panic("%zu projects, then %zu", x.n, y.n);
	}
	return 0;
}
