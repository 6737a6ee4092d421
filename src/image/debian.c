// SPDX-License-Identifier: Apache-2.0
/*
 * Root file systems of Debian packages. mmdebstrap makes them; what it is told is where: the machine's own apt sources of that suite, or
 * its mirror with another suite, so that a host that reaches nothing but its mirror can do it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "image/internal.h"

enum { SOURCES_MAX = 1 << 20, FILES_MAX = 1000, WORDS_MAX = 64, CHATTER_MAX = 16 << 20 };
#define EPOCH "315532800" /* 1980-01-01: older ones are suspicious to some programs */

struct origin {
	struct str uri, suite, components, signed_by;
};

static bool is_suite_of(struct str suite, const char *asked)
{
	struct str rest = suite;
	if (!str_take_str(&rest, str_c(asked)))
		return false;
	return rest.n == 0 || str_eq(rest, STR("-updates")) || str_eq(rest, STR("-security")) ||
	       str_eq(rest, STR("/updates"));
}

static bool has_word(struct str list, const char *word)
{
	struct str w;
	while (str_take_word(&list, &w))
		if (str_eq_c(w, word))
			return true;
	return false;
}

/* Other people's repositories use Debian's names of suites, too. */
static bool is_debian(const struct origin *o)
{
	struct str uri = o->uri;
	while (uri.n > 0 && uri.p[uri.n - 1] == '/')
		uri.n--;
	struct str last = str_skip(uri, (size_t)(str_rfind(uri, '/') + 1));
	return str_starts(last, STR("debian")) && has_word(o->components, "main") && str_search(uri, STR("://")) > 0;
}

static void take(const struct origin *o, const char *suite, struct buf *ret, struct buf *ret_mirror)
{
	if (!is_debian(o))
		return;
	if (ret_mirror->n == 0 && str_search(o->uri, STR("security")) < 0)
		buf_put_str(ret_mirror, o->uri);
	if (!is_suite_of(o->suite, suite))
		return;
	buf_put_c(ret, "deb ");
	if (o->signed_by.n && o->signed_by.p[0] == '/')
		buf_printf(ret, "[signed-by=%.*s] ", STR_ARG(o->signed_by));
	buf_printf(ret, "%.*s %.*s %.*s\n", STR_ARG(o->uri), STR_ARG(o->suite), STR_ARG(o->components));
}

/* deb [signed-by=…] URI SUITE COMPONENT… */
static void take_line(struct str line, const char *suite, struct buf *ret, struct buf *ret_mirror)
{
	struct origin o = {0};
	struct str word, options;
	if (!str_take_word(&line, &word) || !str_eq(word, STR("deb")))
		return;
	line = str_trim(line);
	if (str_take_char(&line, '[') && str_take_until(&line, ']', &options))
		while (str_take_word(&options, &word))
			if (str_take_str(&word, STR("signed-by=")))
				o.signed_by = word;
	if (!str_take_word(&line, &o.uri) || !str_take_word(&line, &o.suite))
		return;
	ptrdiff_t comment = str_find(line, '#');
	o.components = str_trim(comment < 0 ? line : str_head(line, (size_t)comment));
	take(&o, suite, ret, ret_mirror);
}

struct stanza {
	struct str types, uris, suites, components, signed_by;
	bool disabled;
};

static void take_stanza(const struct stanza *z, const char *suite, struct buf *ret, struct buf *ret_mirror)
{
	struct str uris = z->uris, uri, one;
	if (z->disabled || !has_word(z->types, "deb"))
		return;
	while (str_take_word(&uris, &uri))
		for (struct str suites = z->suites; str_take_word(&suites, &one);)
			take(&(struct origin){uri, one, z->components, z->signed_by}, suite, ret, ret_mirror);
}

static void take_field(struct stanza *z, struct str name, struct str value)
{
	if (str_casecmp(name, STR("types")) == 0)
		z->types = value;
	else if (str_casecmp(name, STR("uris")) == 0)
		z->uris = value;
	else if (str_casecmp(name, STR("suites")) == 0)
		z->suites = value;
	else if (str_casecmp(name, STR("components")) == 0)
		z->components = value;
	else if (str_casecmp(name, STR("signed-by")) == 0)
		z->signed_by = value;
	else if (str_casecmp(name, STR("enabled")) == 0)
		z->disabled = str_casecmp(value, STR("no")) == 0 || str_casecmp(value, STR("false")) == 0;
}

void debian_sources(struct str text, bool deb822, const char *suite, struct buf *ret, struct buf *ret_mirror)
{
	struct stanza z = {0};
	struct str line, name;
	while (str_take_line(&text, &line)) {
		if (!deb822) {
			take_line(line, suite, ret, ret_mirror);
			continue;
		}
		if (str_trim(line).n == 0) {
			take_stanza(&z, suite, ret, ret_mirror);
			z = (struct stanza){0};
		} else if (line.p[0] != '#' && line.p[0] != ' ' && str_take_until(&line, ':', &name)) {
			take_field(&z, name, str_trim(line));
		}
	}
	take_stanza(&z, suite, ret, ret_mirror);
}

static void read_sources(const char *suite, struct buf *ret, struct buf *ret_mirror)
{
	auto_buf b = BUF_INIT(SOURCES_MAX);
	auto_fs_list names = {0};
	struct err e = ERR_INIT; /* what cannot be read counts as not there */
	if (fs_read(AT_FDCWD, "/etc/apt/sources.list", &b, &e) == 0)
		debian_sources(buf_str(&b), false, suite, ret, ret_mirror);
	auto_fd dir = fs_open_dir(AT_FDCWD, "/etc/apt/sources.list.d", &e);
	if (dir < 0 || fs_list(dir, ".", FILES_MAX, &names, &e) < 0)
		return;
	for (size_t i = 0; i < names.n; i++) {
		struct str name = str_c(names.name[i]);
		bool deb822 = str_ends(name, STR(".sources"));
		buf_clear(&b);
		if ((deb822 || str_ends(name, STR(".list"))) && fs_read(dir, name.p, &b, &e) == 0)
			debian_sources(buf_str(&b), deb822, suite, ret, ret_mirror);
	}
}

/* == mmdebstrap ==================================================================================================== */

static int check_word(const char *what, const char *word, struct err *e)
{
	for (const char *c = word; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
		      (*c && strchr("+-.:=~/_", *c) && c > word)))
			return err_new(e, ERR_USAGE, "%s '%s' is no name of Debian's", what, word);
	return *word ? 0 : err_new(e, ERR_USAGE, "%s is empty", what);
}

static int check_words(const struct image_import *o, struct err *e)
{
	if (check_word("suite", o->debian_suite, e) < 0 || (o->variant && check_word("variant", o->variant, e) < 0))
		return -1;
	for (size_t i = 0; o->include && o->include[i]; i++)
		if (check_word("package", o->include[i], e) < 0)
			return -1;
	return 0;
}

struct args {
	const char *v[WORDS_MAX];
	size_t n;
};

static int add_arg(struct args *args, const char *word, struct err *e)
{
	if (args->n + 1 >= WORDS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d words for mmdebstrap", WORDS_MAX);
	args->v[args->n++] = word;
	args->v[args->n] = NULL;
	return 0;
}

static int add_sources(struct args *args, const char *suite, struct arena *a, struct err *e)
{
	auto_buf lines = BUF_INIT(SOURCES_MAX), mirror = BUF_INIT(SOURCES_MAX);
	read_sources(suite, &lines, &mirror);
	struct str text = arena_str(a, buf_str(&lines)), line;
	if (text.n == 0 && mirror.n)
		return add_arg(args, arena_strdup(a, buf_str(&mirror)), e);
	while (str_take_line(&text, &line))
		if (add_arg(args, arena_strdup(a, line), e) < 0)
			return -1;
	return 0;
}

static int make_args(const struct image_import *o, struct arena *a, struct args *args, struct err *e)
{
	const char *variant = arena_printf(a, "--variant=%s", o->variant ? o->variant : "minbase");
	if (add_arg(args, "mmdebstrap", e) < 0 || add_arg(args, "--format=tar", e) < 0 || add_arg(args, variant, e) < 0)
		return -1;
	for (size_t i = 0; o->include && o->include[i]; i++)
		if (add_arg(args, arena_printf(a, "--include=%s", o->include[i]), e) < 0)
			return -1;
	if (add_arg(args, o->debian_suite, e) < 0 || add_arg(args, "-", e) < 0)
		return -1;
	return add_sources(args, o->debian_suite, a, e);
}

/* The same environment, and times that do not depend on when it runs: the same packages are the same image. */
static const char *const *make_env(struct arena *a)
{
	extern char **environ;
	size_t n = 0;
	while (environ[n])
		n++;
	const char **v = arena_array(a, const char *, n + 3);
	memcpy(v, environ, n * sizeof(*v));
	if (!getenv("SOURCE_DATE_EPOCH"))
		v[n++] = "SOURCE_DATE_EPOCH=" EPOCH;
	if (!getenv("PATH"))
		v[n++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	return v;
}

/* The end of what a program said. */
static struct str tail(struct str s)
{
	s = str_trim(s);
	return s.n > 1500 ? str_skip(s, s.n - 1500) : s;
}

int debian_make(const struct image_import *o, int fd, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf chatter = BUF_INIT(CHATTER_MAX);
	struct args args = {.n = 0};
	struct err why = ERR_INIT;
	if (check_words(o, e) < 0 || make_args(o, &a, &args, e) < 0)
		return -1;
	struct proc_opts run = {
		.argv = args.v, .envp = make_env(&a), .out_to = fd, .errout = o->quiet ? &chatter : NULL};
	int status = proc_run(&run, &why);
	if (status < 0 && why.code == ERR_NOT_FOUND)
		return err_new(
			e, ERR_NOT_FOUND,
			"mmdebstrap, which makes Debian root file systems, is not installed here: 'apt-get install "
			"mmdebstrap' does that; a tar made elsewhere can be imported, too");
	if (status < 0) {
		*e = why;
		return -1;
	}
	struct str said = tail(buf_str(&chatter));
	if (status > 0)
		return err_new(e, ERR_FAILED, "mmdebstrap could not make '%s' (exit status %d)%s%.*s", o->debian_suite,
			       status, said.n ? ":\n" : "; it has said why", STR_ARG(said));
	return 0;
}
