// SPDX-License-Identifier: Apache-2.0
/* Packages of the system: a row for each family of distributions, and what reads its programs' output. */
#include "build/opam_system.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/proc.h"
#include "base/vec.h"

enum {
	QUERY_MS = 120000,
	QUIET_MS = 1800000,
	OUTPUT_MAX = 64 << 20,
	NAMES_MAX = 10000,   /* that are looked for */
	INSTALL_MAX = 65536, /* bytes of names in one command */
	QUERY_MAX = 60000,   /* bytes of names in one query */
	NAME_MAX_BYTES = 200,
	WORDS_MAX = 8,
	FAMILIES_MAX = 8
};

struct family;
struct build_depexts {
	struct arena arena;
	const struct family *family;
	bool offers_nothing, is_read, cannot_ask;
	int64_t query_ms;
	struct map known; /* by name: 1 + enum channel_system_has */
	VEC(struct str) wanted, ignored;
	const char *problem;
};
typedef void take_fn(struct build_depexts *d, struct str text);

/* == the table =========================================================================================================== */

static take_fn take_dpkg, take_apt, take_lines, take_policy, take_zypper;

/* How names are handed to the program that is asked for them. */
enum query_by { BY_WORDS, BY_PATTERN };
struct family {
	const char *names[FAMILIES_MAX]; /* values of os-family */
	const char *letters;		 /* that names hold beside letters, digits and "+-._" */
	const char *installed[WORDS_MAX];
	take_fn *take_installed;
	const char
		*offered[WORDS_MAX]; /* NULL: it is not asked, and everything counts as offered. "?" stands for names */
	enum query_by by;
	int nothing_found; /* its exit status where it knows none of the names, beside 0 */
	take_fn *take_offered;
	const char *install[WORDS_MAX], *install_asking[WORDS_MAX]; /* names come behind */
	const char *update[WORDS_MAX];
	const char *variable; /* "NAME=value" where nothing is asked */
	bool is_rpm;	      /* dnf where there is no yum; EPEL first; rpm tells in the end whether all is there */
};
static const struct family table[] = {
	{
		.names = {"debian", "ubuntu"},
		.letters = ":",
		.installed = {"dpkg-query", "-W", "-f",
			      "${db:Status-Abbrev}\\t${Package}\\t${Architecture}\\t${Provides}\\n"},
		.take_installed = take_dpkg,
		.offered = {"apt-cache", "search", "?", "--names-only", "--full"},
		.by = BY_PATTERN,
		.take_offered = take_apt,
		.install = {"apt-get", "install", "-qq", "-yy"},
		.install_asking = {"apt-get", "install"},
		.update = {"apt-get", "update"},
		.variable = "DEBIAN_FRONTEND=noninteractive",
	},
	{
		.names = {"amzn", "centos", "fedora", "mageia", "oraclelinux", "ol", "rhel"},
		.letters = ":()",
		.installed = {"rpm", "-qa", "--qf", "%{NAME}\\n[%{PROVIDES}\\n]"},
		.take_installed = take_lines,
		.install = {"yum", "install", "-y"},
		.install_asking = {"yum", "install"},
		.update = {"yum", "makecache"},
		.is_rpm = true,
	},
	{
		.names = {"suse", "opensuse"},
		.letters = ":()",
		.installed = {"rpm", "-qa", "--qf", "%{NAME}\\n[%{PROVIDES}\\n]"},
		.take_installed = take_lines,
		.offered = {"zypper", "--quiet", "se", "-t", "package", "--match-exact", "?"},
		.nothing_found = 104,
		.take_offered = take_zypper,
		.install = {"zypper", "--non-interactive", "install"},
		.install_asking = {"zypper", "install"},
		.update = {"zypper", "--non-interactive", "refresh"},
	},
	{
		.names = {"alpine"},
		.letters = "@",
		.installed = {"apk", "info"},
		.take_installed = take_lines,
		.offered = {"apk", "policy", "?"},
		.take_offered = take_policy,
		.install = {"apk", "add"},
		.install_asking = {"apk", "add", "-i"},
		.update = {"apk", "update"},
	},
};

static const struct family *family_of(struct str name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		for (size_t k = 0; k < FAMILIES_MAX && table[i].names[k]; k++)
			if (str_eq_c(name, table[i].names[k]))
				return &table[i];
	return NULL;
}

static size_t count(const char *const *words)
{
	size_t n = 0;
	while (n < WORDS_MAX && words[n])
		n++;
	return n;
}

/* == names =============================================================================================================== */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool build_depexts_is_name(const struct build_depexts *d, struct str name)
{
	static const char *const files[] = {".deb", ".rpm", ".apk"};
	if (name.n == 0 || name.n > NAME_MAX_BYTES || !is_alnum(name.p[0]))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!is_alnum(name.p[i]) && (!name.p[i] || !strchr("+-._", name.p[i])) &&
		    (!name.p[i] || !strchr(d->family->letters, name.p[i])))
			return false;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (str_ends(name, str_c(files[i])))
			return false;
	return !str_ends(name, STR("-")); /* "x-": apt removes x */
}

static void set(struct build_depexts *d, struct str name, enum channel_system_has has)
{
	*map_put(&d->known, map_get(&d->known, name) ? name : arena_str(&d->arena, name)) = 1 + (uint64_t)has;
}

/* Of what was asked for. */
static void set_known(struct build_depexts *d, struct str name, enum channel_system_has has)
{
	uint64_t *was = map_get(&d->known, name);
	if (was && (*was == 1 + (uint64_t)CHANNEL_SYSTEM_WANTED ||
		    (*was == 1 + (uint64_t)CHANNEL_SYSTEM_OFFERED && has == CHANNEL_SYSTEM_INSTALLED)))
		*was = 1 + (uint64_t)has;
}

/* == what programs print ================================================================================================= */

/* "a (= 1), b": calls for each name */
static void take_provided(struct build_depexts *d, struct str list, enum channel_system_has has)
{
	while (list.n) {
		struct str one, name;
		if (!str_take_until(&list, ',', &one)) {
			one = list;
			list.n = 0;
		}
		if (!str_take_word(&one, &name))
			continue;
		if (has == CHANNEL_SYSTEM_INSTALLED)
			set(d, name, has);
		else
			set_known(d, name, has);
	}
}

/* "ii \tNAME\tARCHITECTURE\tPROVIDED (= 1), …" */
static void take_dpkg(struct build_depexts *d, struct str text)
{
	for (struct str line; str_take_line(&text, &line);) {
		struct str status, name, arch;
		if (!str_take_until(&line, '\t', &status) || !str_take_until(&line, '\t', &name) ||
		    !str_take_until(&line, '\t', &arch) || status.n < 2 || status.p[1] != 'i' || name.n == 0)
			continue;
		set(d, name, CHANNEL_SYSTEM_INSTALLED);
		set(d, str_c(arena_printf(&d->arena, "%.*s:%.*s", STR_ARG(name), STR_ARG(arch))),
		    CHANNEL_SYSTEM_INSTALLED);
		take_provided(d, line, CHANNEL_SYSTEM_INSTALLED);
	}
}

/* A name a line; of rpm also what packages provide. */
static void take_lines(struct build_depexts *d, struct str text)
{
	for (struct str line; str_take_line(&text, &line);)
		if (line.n && line.n <= NAME_MAX_BYTES)
			set(d, line, CHANNEL_SYSTEM_INSTALLED);
}

/* Paragraphs: "Package: NAME" … "Provides: NAME (= 1), NAME" */
static void take_apt(struct build_depexts *d, struct str text)
{
	for (struct str line; str_take_line(&text, &line);)
		if (str_take_str(&line, STR("Package: ")))
			set_known(d, str_trim(line), CHANNEL_SYSTEM_OFFERED);
		else if (str_take_str(&line, STR("Provides: ")))
			take_provided(d, line, CHANNEL_SYSTEM_OFFERED);
}

/* "NAME policy:", below it versions by two blanks, and by four where they are: the database, URLs, and "@TAG URL" of what is NAME@TAG. */
static void take_policy(struct build_depexts *d, struct str text)
{
	struct str name = STR_NONE;
	bool installed = false;
	for (struct str line, tag; str_take_line(&text, &line);) {
		if (str_ends(line, STR(" policy:"))) {
			name = str_head(line, line.n - 8);
		} else if (!str_starts(line, STR("    "))) {
			installed = false;
		} else if (str_ends(line, STR("lib/apk/db/installed"))) {
			installed = true;
			set_known(d, name, CHANNEL_SYSTEM_INSTALLED);
		} else {
			line = str_trim(line);
			if (str_take_char(&line, '@') && str_take_word(&line, &tag))
				name = str_c(arena_printf(&d->arena, "%.*s@%.*s", STR_ARG(name), STR_ARG(tag)));
			set_known(d, name, installed ? CHANNEL_SYSTEM_INSTALLED : CHANNEL_SYSTEM_OFFERED);
			ptrdiff_t at = str_find(name, '@');
			name = at > 0 ? str_head(name, (size_t)at) : name;
		}
	}
}

/* "i+ | NAME | SUMMARY | package" */
static void take_zypper(struct build_depexts *d, struct str text)
{
	for (struct str line, status, name; str_take_line(&text, &line);)
		if (str_take_until(&line, '|', &status) && str_take_until(&line, '|', &name))
			set_known(d, str_trim(name),
				  str_starts(status, STR("i")) ? CHANNEL_SYSTEM_INSTALLED : CHANNEL_SYSTEM_OFFERED);
}

void depexts_take(struct build_depexts *d, enum depexts_answer which, struct str text)
{
	take_fn *take = which == DEPEXTS_INSTALLED ? d->family->take_installed : d->family->take_offered;
	if (take)
		take(d, text);
}

/* == asking ============================================================================================================== */

/* The environment with NAME=value in place of what is there (`always`) or where nothing is. */
static const char *const *environment(struct arena *a, const char *variable, bool always)
{
	size_t n = 0, at = 0, name_n = (size_t)(strchr(variable, '=') - variable) + 1;
	bool there = false;
	while (environ[n])
		n++;
	const char **v = arena_array(a, const char *, n + 2);
	for (size_t i = 0; i < n; i++) {
		bool same = strncmp(environ[i], variable, name_n) == 0;
		there |= same;
		if (!same || !always)
			v[at++] = environ[i];
	}
	if (always || !there)
		v[at++] = variable;
	return v;
}

/* A program's output. False: it could not be asked. */
static bool query(struct build_depexts *d, const char *const *argv, int also_good, struct buf *out)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	auto_buf complaints = BUF_INIT(4096);
	const struct proc_opts o = {.argv = argv,
				    .envp = environment(&a, "LC_ALL=C", true),
				    .out = out,
				    .errout = &complaints,
				    .deadline_ms = d->query_ms};
	int status = proc_run(&o, &e);
	if ((status == 0 || (also_good && status == also_good)) && !out->overflow)
		return true;
	struct str last = STR_NONE, line;
	for (struct str rest = buf_str(&complaints); str_take_line(&rest, &line);)
		last = line.n ? line : last;
	if (status < 0)
		d->problem = arena_strdup(&d->arena, str_c(e.msg));
	else if (out->overflow)
		d->problem = arena_printf(&d->arena, "'%s' printed more than %d MB", argv[0], OUTPUT_MAX >> 20);
	else
		d->problem = arena_printf(&d->arena, "'%s' failed with exit code %d%s%.*s", argv[0], status,
					  last.n ? ": " : "", STR_ARG(last));
	return false;
}

static void read_installed(struct build_depexts *d)
{
	auto_buf out = BUF_INIT(OUTPUT_MAX);
	d->is_read = true;
	vec_foreach(name, &d->ignored)
		set(d, *name, CHANNEL_SYSTEM_INSTALLED);
	if (query(d, d->family->installed, 0, &out))
		depexts_take(d, DEPEXTS_INSTALLED, buf_str(&out));
}

enum channel_system_has build_depexts_has(void *ctx, struct str name)
{
	struct build_depexts *d = ctx;
	if (!d->is_read)
		read_installed(d);
	uint64_t *has = map_get(&d->known, name);
	if (has)
		return (enum channel_system_has)(*has - 1);
	if (d->offers_nothing || !build_depexts_is_name(d, name)) {
		set(d, name, CHANNEL_SYSTEM_NOT_OFFERED);
		return CHANNEL_SYSTEM_NOT_OFFERED;
	}
	set(d, name, CHANNEL_SYSTEM_WANTED);
	vec_push(&d->wanted, arena_str(&d->arena, name));
	return CHANNEL_SYSTEM_WANTED;
}

/* ^(a|b\+\+)$ */
static const char *pattern_of(struct arena *a, const struct str *v, size_t n)
{
	auto_buf b = BUF_INIT(4 * QUERY_MAX);
	for (size_t i = 0; i < n; i++) {
		buf_put_c(&b, i ? "|" : "^(");
		for (size_t k = 0; k < v[i].n; k++)
			buf_printf(&b, "%s%c", strchr("+.", v[i].p[k]) ? "\\" : "", v[i].p[k]);
	}
	buf_put_c(&b, ")$");
	return arena_strdup(a, buf_str(&b));
}

static bool query_offered(struct build_depexts *d, const struct str *v, size_t n)
{
	auto_arena a = ARENA_INIT;
	auto_buf out = BUF_INIT(OUTPUT_MAX);
	const struct family *f = d->family;
	const char **argv = arena_array(&a, const char *, WORDS_MAX + n + 1), **at = argv;
	for (size_t i = 0; i < count(f->offered); i++) {
		if (strcmp(f->offered[i], "?") != 0)
			*at++ = f->offered[i];
		else if (f->by == BY_PATTERN)
			*at++ = pattern_of(&a, v, n);
		else
			for (size_t k = 0; k < n; k++) /* apk: NAME@TAG is asked for as NAME */
				*at++ = arena_strdup(&a, str_find(v[k], '@') > 0
								 ? str_head(v[k], (size_t)str_find(v[k], '@'))
								 : v[k]);
	}
	if (!query(d, argv, f->nothing_found, &out))
		return false;
	depexts_take(d, DEPEXTS_OFFERED, buf_str(&out));
	return true;
}

int build_depexts_ask(struct build_depexts *d, struct err *e)
{
	bool lacking = false;
	if (d->wanted.n > NAMES_MAX)
		return err_new(e, ERR_LIMIT, "%zu system packages are wanted, more than %d", d->wanted.n, NAMES_MAX);
	bool asks = d->family->offered[0] && !d->cannot_ask;
	for (size_t from = 0, to; asks && from < d->wanted.n; from = to) {
		size_t bytes = 0;
		for (to = from; to < d->wanted.n && (to == from || bytes < QUERY_MAX); to++)
			bytes += d->wanted.v[to].n + 2;
		if (!query_offered(d, d->wanted.v + from, to - from)) {
			d->cannot_ask = true;
			break;
		}
		for (size_t i = from; i < to; i++)
			if (*map_get(&d->known, d->wanted.v[i]) == 1 + (uint64_t)CHANNEL_SYSTEM_WANTED) {
				set(d, d->wanted.v[i], CHANNEL_SYSTEM_NOT_OFFERED);
				lacking = true;
			}
	}
	vec_clear(&d->wanted);
	return lacking;
}

void build_depexts_forget(struct build_depexts *d)
{
	map_release(&d->known);
	vec_clear(&d->wanted);
	d->is_read = false;
}

const char *build_depexts_problem(const struct build_depexts *d)
{
	return d->problem;
}

int build_depexts_open(const struct build_depexts_opts *o, struct build_depexts **ret, struct err *e)
{
	const struct family *f = family_of(o->family);
	if (!f)
		return o->family.n
			       ? err_new(e, ERR_UNSUPPORTED,
					 "External dependency handling not supported for OS family '%.*s'.",
					 STR_ARG(o->family))
			       : err_new(e, ERR_UNSUPPORTED, "External dependency unusable, OS family not detected.");
	struct build_depexts *d = xcalloc(1, sizeof(*d));
	d->family = f;
	d->offers_nothing = o->offers_nothing;
	d->query_ms = o->query_ms ? o->query_ms : QUERY_MS;
	for (size_t i = 0; i < o->n_ignored; i++)
		vec_push(&d->ignored, arena_str(&d->arena, o->ignored[i]));
	*ret = d;
	return 0;
}

void build_depexts_free(struct build_depexts *d)
{
	if (!d)
		return;
	map_release(&d->known);
	vec_release(&d->wanted);
	vec_release(&d->ignored);
	arena_release(&d->arena);
	free(d);
}

/* == commands ============================================================================================================ */

/* Where PATH has it; NULL: nowhere. */
static const char *find_program(struct arena *a, const char *name)
{
	const char *path = getenv("PATH");
	struct str rest = str_c(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), dir;
	while (rest.n) {
		struct stat st;
		if (!str_take_until(&rest, ':', &dir)) {
			dir = rest;
			rest.n = 0;
		}
		const char *file = arena_printf(a, "%.*s/%s", STR_ARG(dir), name);
		if (dir.n && dir.p[0] == '/' && access(file, X_OK) == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode))
			return file;
	}
	return NULL;
}

VEC_TYPE(words, const char *);

static void put_shown(struct buf *b, const char *word)
{
	buf_put_c(b, " \"");
	for (; *word; word++)
		buf_printf(b, "%s%c", strchr("\"\\", *word) ? "\\" : "", *word);
	buf_put_char(b, '"');
}

/* As a word of a shell's. */
static void put_quoted(struct buf *b, const char *word)
{
	bool plain = *word;
	for (const char *p = word; *p; p++)
		plain = plain && (is_alnum(*p) || strchr("+-._:/@=", *p));
	buf_printf(b, plain ? "%s" : "'%s'", word); /* no word of ours has a quote in it */
}

static const char *join(struct arena *a, const char *const *words, bool quoted)
{
	auto_buf b = BUF_INIT(4 * INSTALL_MAX);
	for (size_t i = 0; words[i]; i++) {
		buf_put_c(&b, i ? " " : "");
		if (quoted)
			put_quoted(&b, words[i]);
		else
			buf_put_c(&b, words[i]);
	}
	return arena_strdup(a, buf_str(&b));
}

/* The words as they are run: by root, through sudo, or through su where there is no sudo. */
static int as_root(struct arena *a, const char *const *words, struct build_depexts_command *ret, struct err *e)
{
	struct words v = {0};
	if (getuid() != 0 && find_program(a, "sudo")) {
		vec_push(&v, "sudo");
	} else if (getuid() != 0) {
		vec_push(&v, "su");
		vec_push(&v, "root");
		vec_push(&v, "-c");
		vec_push(&v, join(a, words, true));
		words = NULL;
	}
	for (; words && *words; words++)
		vec_push(&v, *words);
	vec_push(&v, NULL);
	const char **argv = vec_copy(&v, a);
	vec_release(&v);
	ret->words = join(a, argv, false);
	const char *program = find_program(a, argv[0]);
	if (!program)
		return err_new(e, ERR_NOT_FOUND, "\"%s\": command not found.", argv[0]);
	argv[0] = program;
	auto_buf shown = BUF_INIT(4 * INSTALL_MAX);
	buf_put_c(&shown, program);
	for (size_t i = 1; argv[i]; i++)
		put_shown(&shown, argv[i]);
	ret->argv = argv;
	ret->shown = arena_strdup(a, buf_str(&shown));
	return 0;
}

/* words and names as a command. */
static int make(struct build_depexts *d, const char *const *words, const struct str *names, size_t n, bool asks,
		struct arena *a, struct build_depexts_command *ret, struct err *e)
{
	size_t k = count(words);
	const char **argv = arena_array(a, const char *, k + n + 1);
	for (size_t i = 0; i < k; i++)
		argv[i] = words[i];
	if (d->family->is_rpm && strcmp(argv[0], "yum") == 0 && !find_program(a, "yum")) {
		if (!find_program(a, "dnf"))
			return err_new(e, ERR_NOT_FOUND, "\"yum or dnf\": command not found.");
		argv[0] = "dnf";
	}
	for (size_t i = 0; i < n; i++)
		argv[k + i] = arena_strdup(a, names[i]);
	ret->asks = asks;
	ret->plain = join(a, argv, false);
	ret->envp = d->family->variable && !asks ? environment(a, d->family->variable, false) : NULL;
	return as_root(a, argv, ret, e);
}

int build_depexts_install(struct build_depexts *d, const struct str *names, size_t n, bool yes, struct arena *a,
			  struct build_depexts_command **ret, size_t *ret_n, struct err *e)
{
	static const char *const check[WORDS_MAX] = {"rpm", "-q", "--whatprovides"};
	const struct family *f = d->family;
	const char *const *words = yes ? f->install : f->install_asking;
	struct build_depexts_command *v = arena_array(a, struct build_depexts_command, 3);
	struct str *others = arena_array(a, struct str, n), epel = STR("epel-release");
	size_t bytes = 0, k = 0, others_n = 0;
	for (size_t i = 0; i < n; i++) {
		bytes += names[i].n + 1;
		if (!build_depexts_is_name(d, names[i]))
			return err_new(e, ERR_INPUT, "'%.*s' is no name of a system package", STR_ARG(names[i]));
		if (!f->is_rpm || !str_eq(names[i], epel))
			others[others_n++] = names[i];
	}
	if (bytes > INSTALL_MAX)
		return err_new(e, ERR_LIMIT, "%zu system packages are too many for one command", n);
	/* that repository must be there before its packages are looked for */
	if (others_n < n && make(d, words, &epel, 1, !yes, a, &v[k++], e) < 0)
		return -1;
	if ((others_n || !n) && make(d, words, others, others_n, !yes, a, &v[k++], e) < 0)
		return -1;
	if (f->is_rpm && make(d, check, names, n, false, a, &v[k++], e) < 0)
		return -1;
	*ret = v;
	*ret_n = k;
	return 0;
}

int build_depexts_update(struct build_depexts *d, struct arena *a, struct build_depexts_command *ret, struct err *e)
{
	return make(d, d->family->update, NULL, 0, false, a, ret, e);
}

int build_depexts_run(const struct build_depexts_command *c, void (*say)(void *ctx, struct str text), void *ctx,
		      int *ret_status, struct err *e)
{
	bool ends = !c->asks && getuid() == 0; /* what sudo runs cannot be ended by who ran it */
	const struct proc_opts o = {.argv = c->argv,
				    .envp = c->envp,
				    .keep_stdin = !ends,
				    .quiet_ms = ends ? QUIET_MS : 0,
				    .signals = ends,
				    .say = say,
				    .say_ctx = ctx};
	int status = proc_run(&o, e);
	if (status < 0)
		return -1;
	*ret_status = status;
	return 0;
}
