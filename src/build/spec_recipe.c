// SPDX-License-Identifier: Apache-2.0
/* What a person types to have the same build without Slipway. */
#include "build/spec.h"

/* What is not to be shown to a terminal as it is. A recipe is read before it is run. */
static bool has_control(struct str s, bool lines)
{
	while (s.n) {
		uint32_t c;
		size_t n = utf8_take(s, &c);
		if (n == 0 || (utf8_is_control(c) && !(lines && (c == '\n' || c == '\t'))))
			return true;
		s = str_skip(s, n);
	}
	return false;
}

/* For printf's %b, which every sh has: \0NNN and \\. With lines: but for their ends. */
static void put_escaped(struct buf *out, struct str s, bool lines, const char *quote)
{
	while (s.n) {
		uint32_t c;
		size_t n = utf8_take(s, &c);
		bool shown = n > 0 && (!utf8_is_control(c) || (lines && (c == '\n' || c == '\t')));
		n += n == 0;
		for (size_t i = 0; i < n; i++)
			if (!shown)
				buf_printf(out, "\\0%03o", (unsigned char)s.p[i]);
			else if (s.p[i] == '\\')
				buf_put_c(out, "\\\\");
			else if (s.p[i] == '\'')
				buf_put_c(out, quote);
			else
				buf_put_char(out, s.p[i]);
		s = str_skip(s, n);
	}
}

/* In double quotes, as logs have it; in single ones where the shell would read something into it. `end` keeps what ends with a newline from losing
 * it. */
static void put_quoted(struct buf *out, struct str s, const char *end)
{
	bool special = false;
	if (has_control(s, false)) {
		buf_put_c(out, "\"$(printf '%b' '");
		put_escaped(out, s, false, "'\\''");
		buf_printf(out, "%s')\"", end);
		return;
	}
	for (size_t i = 0; i < s.n; i++)
		special |= strchr("$`\"\\!'", s.p[i]) != NULL;
	if (!special) {
		buf_put_char(out, '"');
		buf_put_str(out, s);
		buf_put_char(out, '"');
		return;
	}
	buf_put_char(out, '\'');
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\'')
			buf_put_c(out, "'\\''");
		else
			buf_put_char(out, s.p[i]);
	buf_put_char(out, '\'');
}

/* As it is where the shell reads nothing into it. */
static void put_word(struct buf *out, struct str s)
{
	bool plain = s.n > 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		plain &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			 strchr("._/-", c);
	}
	if (plain)
		buf_put_str(out, s);
	else
		put_quoted(out, s, "");
}

/* The folder that git makes of a URL. */
static struct str clone_name(struct str url)
{
	while (url.n && url.p[url.n - 1] == '/')
		url.n--;
	if (str_ends(url, STR(".git")))
		url.n -= 4;
	ptrdiff_t slash = str_rfind(url, '/');
	if (slash < 0)
		slash = str_rfind(url, ':'); /* host:name */
	return str_skip(url, (size_t)(slash + 1));
}

static void put_git(const struct spec_source *s, struct buf *out)
{
	buf_put_c(out, "cd $(mktemp -d)\ngit clone --recursive ");
	put_quoted(out, s->url, "");
	buf_put_c(out, " && cd ");
	put_quoted(out, clone_name(s->url), "");
	if (s->ref.n) {
		buf_put_c(out, " && git fetch origin ");
		put_quoted(out, s->ref, "");
	}
	buf_put_c(out, " && git reset --hard ");
	put_word(out, str_head(s->commit, 8));
	buf_put_char(out, '\n');
	if (s->merge_base.n) {
		buf_put_c(out, "git fetch origin ");
		put_word(out, s->merge_branch);
		buf_put_c(out, "\ngit merge --no-edit ");
		put_word(out, s->merge_base);
		buf_put_char(out, '\n');
	}
}

int spec_recipe(const struct build_spec *s, const char *file, const struct spec_source *source, struct buf *out,
		struct err *e)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	if (spec_dockerfile(s, file, 0, &text, e) < 0)
		return -1;
	bool git = source->url.n != 0;
	if (git) {
		put_git(source, out);
	} else {
		buf_put_c(out, "cd ");
		put_quoted(out, source->dir, "/.");
		buf_put_c(out, "\ndockerfile=$(mktemp)\n");
	}
	const char *path = git ? "../Dockerfile" : "\"$dockerfile\"";
	/* no line of it is the delimiter: each begins with its instruction's name, "# " or blanks */
	if (!has_control(buf_str(&text), true)) {
		buf_printf(out, "cat > %s <<'END-OF-DOCKERFILE'\n", path);
		buf_put_str(out, buf_str(&text));
	} else {
		buf_printf(out,
			   "while IFS= read -r line; do printf '%%b\\n' \"$line\"; done > %s <<'END-OF-DOCKERFILE'\n",
			   path);
		put_escaped(out, buf_str(&text), true, "'");
	}
	buf_printf(out, "\nEND-OF-DOCKERFILE\ndocker build -f %s .", path);
	return 0;
}
