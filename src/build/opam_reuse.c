// SPDX-License-Identifier: Apache-2.0
/* Keys of built packages, and their use in a run (build/opam_reuse.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"

enum { WAIT_MS = 50, KEY_TEXT_MAX = 16 << 20, RELEASE_MAX = 1 << 16, STATUS_MAX = 64 << 20, CONTENTS_MAX = 4096 };
#define CONTENTS "slipway-contents" /* in .opam-switch */

/* == what is there ====================================================================================================== */

/* A package that another one can stand on. */
struct member {
	struct str name, version;
	const struct pkg_opam *opam;
	ptrdiff_t planned; /* of the run's packages; -1: it is installed */
};
struct look {
	struct opam_run *r;
	struct arena *a;
	struct env_opam_state state;
	bool ahead; /* before anything is done: what is planned counts as installed */
};

static int read_installed(struct look *l, struct str name, struct str version, struct member *ret)
{
	struct pkg_opam_doc *d = arena_new(l->a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(l->a, struct pkg_opam);
	struct err why = ERR_INIT;
	const char *nv = arena_printf(l->a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	if (env_opam_installed_file(l->r->o->sw, l->a, str_c(nv), d, &why) < 0)
		return 0;
	pkg_opam_package(l->a, d, opam, &why); /* a field that is wrong says nothing */
	*ret = (struct member){name, version, opam, -1};
	return 1;
}

/* 1; 0: it is not there. */
static int find_member(struct look *l, struct str name, struct member *ret)
{
	const struct build_opam_opts *o = l->r->o;
	for (size_t i = 0; i < o->n; i++)
		if (o->packages[i].install && str_eq(o->packages[i].name, name)) {
			*ret = (struct member){name, o->packages[i].version, o->packages[i].opam, (ptrdiff_t)i};
			if (l->ahead)
				return 1;
			struct str there = env_opam_version_in(&l->state.installed, name);
			return there.p && str_eq(there, ret->version);
		}
	struct str version = env_opam_version_in(&l->state.installed, name);
	for (size_t i = 0; i < o->n && l->ahead && version.p; i++)
		if (o->packages[i].remove && str_eq(o->packages[i].name, name))
			version = STR_NONE;
	return version.p ? read_installed(l, name, version, ret) : 0;
}

/* == what a package put into the prefix, as a digest ====================================================================== */

static void hex_of(struct str text, char out[65])
{
	uint8_t d[SHA256_SIZE];
	sha256(text.p, text.n, d);
	hex_encode(d, sizeof(d), out);
}

/* Folders aside: which of them were there already depends on what else is. */
static void content_digest(const struct env_opam_tree *t, char out[65])
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].kind != ENV_OPAM_FOLDER)
			env_opam_tree_print(&(struct env_opam_tree){.v = &t->v[i], .n = 1}, &b);
	hex_of(buf_str(&b), out);
}

/* Of what stat tells of all its files: as long as that is the same, they need not be read again. */
static void stat_digest(struct opam_run *r, struct str version, const struct env_opam_changes *c, char out[65])
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct stat st;
	buf_printf(&b, "%.*s\n", STR_ARG(version));
	for (size_t i = 0; i < c->n; i++) {
		auto_free char *path = str_dup(c->v[i].path);
		if (fstatat(env_opam_prefix_fd(r->o->sw), path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			memset(&st, 0, sizeof(st));
		buf_printf(&b, "%s %.*s %o %lld %lld.%09ld %lld.%09ld %llu\n", path, STR_ARG(c->v[i].digest),
			   st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size,
			   S_ISDIR(st.st_mode) ? 0 : (long long)st.st_mtim.tv_sec,
			   S_ISDIR(st.st_mode) ? 0 : st.st_mtim.tv_nsec,
			   S_ISDIR(st.st_mode) ? 0 : (long long)st.st_ctim.tv_sec,
			   S_ISDIR(st.st_mode) ? 0 : st.st_ctim.tv_nsec, (unsigned long long)st.st_ino);
	}
	hex_of(buf_str(&b), out);
}

static void remember(struct opam_run *r, struct str name, struct str version, const struct env_opam_changes *c,
		     const char content[65])
{
	char stats[65];
	struct err ignored = ERR_INIT; /* then they are read again the next time */
	auto_free char *path = xasprintf(CONTENTS "/%.*s", STR_ARG(name));
	stat_digest(r, version, c, stats);
	auto_free char *text = xasprintf("%s %s\n", stats, content);
	char *nv = arena_printf(r->arena, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	*map_put(r->reuse.contents, str_c(nv)) = (uint64_t)(uintptr_t)arena_strdup(r->arena, str_of(content, 64));
	if (fs_mkdirs(env_opam_meta_fd(r->o->sw), CONTENTS, 0755, &ignored) == 0)
		fs_replace(env_opam_meta_fd(r->o->sw), path, text, strlen(text), 0, &ignored);
}

static bool recall(struct opam_run *r, struct str name, struct str version, const struct env_opam_changes *c,
		   char out[65])
{
	char stats[65];
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(CONTENTS_MAX);
	struct str text, word;
	auto_free char *path = xasprintf(CONTENTS "/%.*s", STR_ARG(name));
	if (fs_read(env_opam_meta_fd(r->o->sw), path, &b, &ignored) < 0)
		return false;
	stat_digest(r, version, c, stats);
	text = buf_str(&b);
	if (!str_take_word(&text, &word) || !str_eq_c(word, stats) || !str_take_word(&text, &word) || word.n != 64)
		return false;
	memcpy(out, word.p, 64);
	out[64] = '\0';
	return true;
}

static bool content_of(struct look *l, const struct member *m, char out[65])
{
	struct opam_run *r = l->r;
	struct env_opam_changes c;
	struct env_opam_tree t;
	struct err why = ERR_INIT;
	if (l->ahead && m->planned >= 0) {
		memcpy(out, r->reuse.v[m->planned].content, 65);
		return out[0] != '\0';
	}
	const char *nv = arena_printf(l->a, "%.*s.%.*s", STR_ARG(m->name), STR_ARG(m->version));
	const uint64_t *known = map_get(r->reuse.contents, str_c(nv));
	if (known) {
		memcpy(out, (const char *)(uintptr_t)*known, 65);
		return true;
	}
	if (env_opam_changes_read(r->o->sw, l->a, m->name, &c, &why) < 0)
		return false;
	if (!recall(r, m->name, m->version, &c, out)) {
		if (env_opam_tree_of(r->o->sw, m->name, &c, l->a, &t, &why) < 0)
			return false;
		content_digest(&t, out);
	}
	remember(r, m->name, m->version, &c, out);
	return true;
}

/* == what a package stands on ============================================================================================= */

VEC_TYPE(member_vec, struct member);
struct closure {
	struct look *l;
	struct member_vec v;
	struct map names;
};

static void closure_release(struct closure *c)
{
	vec_release(&c->v);
	map_release(&c->names);
}
#define auto_closure cleanup_with(closure_release) struct closure

static void add_name(struct closure *c, struct str name)
{
	struct member m;
	if (name.n == 0 || map_get(&c->names, name))
		return;
	*map_put(&c->names, name) = 1;
	if (find_member(c->l, name, &m))
		vec_push(&c->v, m);
}

static void add_names(struct closure *c, const struct pkg_need *n, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return;
	if (n->op == PKG_NEED_NAME) {
		add_name(c, n->name);
		return;
	}
	add_names(c, n->left, depth + 1);
	add_names(c, n->right, depth + 1);
}

static void locals_of(const struct opam_run *r, bool requested, struct env_opam_local out[8])
{
	struct str yes = STR("true"), no = STR("false");
	out[0] = (struct env_opam_local){STR("with-test"), requested && r->o->with_test ? yes : no};
	out[1] = (struct env_opam_local){STR("with-doc"), requested && r->o->with_doc ? yes : no};
	out[2] = (struct env_opam_local){STR("with-dev-setup"), no};
	out[3] = (struct env_opam_local){STR("build"), yes};
	out[4] = (struct env_opam_local){STR("post"), no};
	out[5] = (struct env_opam_local){STR("dev"), no};
}

static void add_depends(struct closure *c, struct env_opam_vars *vars, const struct member *m, bool requested)
{
	struct env_opam_local local[8];
	struct err ignored =
		ERR_INIT; /* a formula of too many names: those that it has are looked at as far as they go */
	const struct pkg_opam_expr *const of[] = {m->opam->depends, m->opam->depopts};
	locals_of(c->l->r, requested, local);
	struct pkg_opam_host h = env_opam_host(vars, m->name, m->version, m->opam->file, local, 6);
	for (size_t i = 0; i < 2; i++) {
		const struct pkg_need *need = NULL;
		if (of[i] && pkg_opam_need_of(c->l->a, of[i], &h, &need, &ignored) == 0)
			add_names(c, need, 0);
	}
}

static int member_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* == the fields that build ================================================================================================ */

static const struct pkg_opam_item *building_fields(struct arena *a, const struct pkg_opam_doc *d)
{
	static const char *const others[] = {"synopsis",    "description",   "maintainer",     "author",
					     "authors",	    "license",	     "licence",	       "homepage",
					     "doc",	    "bug-reports",   "dev-repo",       "tags",
					     "messages",    "post-messages", "available",      "depends",
					     "depopts",	    "conflicts",     "conflict-class", "depexts",
					     "pin-depends", "url",	     "extra-source",   "extra-files",
					     "name",	    "version",	     "opam-version"};
	struct pkg_opam_item *first = NULL, *last = NULL;
	for (const struct pkg_opam_item *i = d->first; i; i = i->next) {
		bool is_other = str_starts(i->name, STR("x-"));
		for (size_t k = 0; k < sizeof(others) / sizeof(*others) && !is_other; k++)
			is_other = str_eq_c(i->name, others[k]);
		if (is_other)
			continue;
		struct pkg_opam_item *copy = arena_copy(a, i, 1, sizeof(*i));
		copy->next = NULL;
		if (last)
			last->next = copy;
		else
			first = copy;
		last = copy;
	}
	return first;
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       c == '+';
}

/* Every word of the text that could be a variable's name: those before a ':' are packages. Too many do no harm. */
static void add_mentioned(struct closure *c, struct map *variables, struct str text)
{
	for (size_t i = 0; i < text.n;) {
		size_t from = i;
		while (i < text.n && is_word_char(text.p[i]))
			i++;
		struct str word = str_of(text.p + from, i - from), part;
		if (word.n && i < text.n && text.p[i] == ':') {
			while (str_take_until(&word, '+', &part))
				add_name(c, part);
			add_name(c, word);
		} else if (word.n) {
			*map_put(variables, word) = 1;
		}
		i += i == from;
	}
}

static int slot_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void put_variables(const struct map *names, const struct pkg_opam_host *h, struct buf *b)
{
	VEC(struct str) v = {0};
	struct str value;
	for (struct map_slot *s = NULL; (s = map_next(names, s));)
		if (!str_eq_c(s->key, "jobs") && h->variable(h->ctx, s->key, &value))
			vec_push(&v, s->key);
	vec_sort(&v, slot_cmp);
	vec_foreach(name, &v)
		if (h->variable(h->ctx, *name, &value))
			buf_printf(b, "variable %.*s=%.*s\n", STR_ARG(*name), STR_ARG(value));
	vec_release(&v);
}

/* == sources and files beside the opam file =============================================================================== */

/* False: one of them has no checksum. */
static bool put_sources(const struct pkg_opam *o, struct buf *b)
{
	for (size_t i = 0; i < o->sources; i++) {
		const struct pkg_opam_source *s = &o->source[i];
		char path[192];
		if (s->checksums == 0)
			return false;
		/* what is no archive gets the URL's name */
		struct str name = str_skip(s->src, (size_t)(str_rfind(s->src, '/') + 1));
		opam_digest_path(opam_best_digest(s->checksum, s->checksums), path);
		buf_printf(b, "source %s %.*s %.*s %.*s\n", path, STR_ARG(s->file), STR_ARG(s->subpath), STR_ARG(name));
	}
	return true;
}

struct extra {
	struct buf *b;
	struct closure *c;
	struct map *variables;
	struct arena *a;
	int files;
	const struct pkg_opam *opam;
	size_t substituted;
};

static bool is_substituted(const struct pkg_opam *o, struct str path)
{
	for (size_t i = 0; i < o->substs.n; i++)
		if (o->substs.v[i].n && path.n > 3 && str_ends(path, STR(".in")) &&
		    str_eq(o->substs.v[i].arg[0].text, str_head(path, path.n - 3)))
			return true;
	return false;
}

static int put_extra(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	enum { EXTRA_MAX = 64 << 20 };
	struct extra *x = ctx;
	char hex[65];
	auto_buf text = BUF_INIT(EXTRA_MAX);
	(void)dirfd;
	(void)name;
	if (!S_ISREG(st->st_mode))
		return 0;
	if (fs_read(x->files, rel, &text, e) < 0)
		return -1;
	hex_of(buf_str(&text), hex);
	buf_printf(x->b, "extra %s %d %s\n", hex, (st->st_mode & 0100) != 0, rel);
	if (is_substituted(x->opam, str_c(rel))) {
		x->substituted++;
		add_mentioned(x->c, x->variables, arena_str(x->a, buf_str(&text)));
	}
	return 0;
}

/* False: there is a file to be made whose text is not known. */
static bool put_extras(const struct build_opam_package *p, struct extra *x)
{
	struct err why = ERR_INIT;
	auto_fd files = p->files ? fs_open_dir(AT_FDCWD, p->files, &why) : -1;
	x->files = files;
	x->opam = p->opam;
	if (files >= 0 && fs_walk(files, ".", put_extra, x, &why) < 0)
		return false;
	return x->substituted == p->opam->substs.n;
}

/* == the machine =========================================================================================================== */

static struct str path_without(struct arena *a, struct str value, const char *prefix)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct str part;
	for (bool more = true; more;) {
		more = str_take_until(&value, ':', &part);
		if (!more)
			part = value;
		if (part.n && !str_starts(part, str_c(prefix)))
			buf_printf(&b, "%s%.*s", b.n ? ":" : "", STR_ARG(part));
	}
	return arena_str(a, buf_str(&b));
}

static bool counts(struct str name)
{
	static const char *const exact[] = {"PATH",
					    "CC",
					    "CXX",
					    "CPP",
					    "CFLAGS",
					    "CPPFLAGS",
					    "CXXFLAGS",
					    "LDFLAGS",
					    "LIBS",
					    "AR",
					    "AS",
					    "LD",
					    "NM",
					    "RANLIB",
					    "STRIP",
					    "CPATH",
					    "TZ",
					    "LIBRARY_PATH",
					    "C_INCLUDE_PATH",
					    "CPLUS_INCLUDE_PATH",
					    "SOURCE_DATE_EPOCH",
					    "LANG",
					    "LANGUAGE",
					    "BUILD_PATH_PREFIX_MAP",
					    "CONFIG_SITE"};
	static const char *const begins[] = {"OCAML", "CAML", "DUNE", "PKG_CONFIG", "LD_", "LC_", "GCC_", "GMAKE"};
	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++)
		if (str_eq_c(name, exact[i]))
			return true;
	for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++)
		if (str_starts(name, str_c(begins[i])))
			return true;
	return false;
}

static void put_environment(struct opam_run *r, struct arena *a, struct buf *b)
{
	VEC(struct str) v = {0};
	for (size_t i = 0; environ[i]; i++) {
		struct str line = str_c(environ[i]), name;
		if (!str_take_until(&line, '=', &name) || !counts(name))
			continue;
		struct str value = path_without(a, line, r->prefix);
		if (value.n)
			vec_push(&v, str_c(arena_printf(a, "%.*s=%.*s", STR_ARG(name), STR_ARG(value))));
	}
	vec_sort(&v, slot_cmp);
	vec_foreach(line, &v)
		buf_printf(b, "environment %.*s\n", STR_ARG(*line));
	vec_release(&v);
}

/* Digest of the program of that name in PATH; NULL: there is none, or it is a package's, whose content counts already. */
static const char *program_digest(struct opam_run *r, struct arena *a, struct str name)
{
	struct str path = path_without(a, str_c(getenv("PATH") ? getenv("PATH") : ""), r->prefix), part;
	if (name.n == 0 || str_find(name, '%') >= 0 || (str_find(name, '/') >= 0 && name.p[0] != '/'))
		return NULL;
	for (bool more = true; more;) {
		more = str_take_until(&path, ':', &part);
		if (!more)
			part = path;
		const char *file = name.p[0] == '/' ? arena_strdup(a, name)
						    : arena_printf(a, "%.*s/%.*s", STR_ARG(part), STR_ARG(name));
		struct stat st;
		if (access(file, X_OK) < 0 || stat(file, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		const uint64_t *known = map_get(r->reuse.programs, str_c(file));
		if (known)
			return (const char *)(uintptr_t)*known;
		uint8_t d[SHA256_SIZE];
		char hex[65];
		struct err why = ERR_INIT;
		auto_fd fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0 || sha256_fd(fd, d, &why) < 0)
			return NULL;
		hex_encode(d, sizeof(d), hex);
		const char *kept = arena_strdup(r->arena, str_c(hex));
		*map_put(r->reuse.programs, str_c(arena_strdup(r->arena, str_c(file)))) = (uint64_t)(uintptr_t)kept;
		return kept;
	}
	return NULL;
}

static void put_program(struct opam_run *r, struct arena *a, struct str name, struct buf *b)
{
	const char *digest = program_digest(r, a, name);
	if (digest)
		buf_printf(b, "program %.*s %s\n", STR_ARG(name), digest);
}

static void put_commands(struct opam_run *r, struct arena *a, const struct pkg_opam_lines *l,
			 const struct pkg_opam_host *h, struct buf *b)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].n == 0)
			continue;
		const struct pkg_opam_arg *arg = &l->v[i].arg[0];
		struct pkg_opam_result x = {.text = arg->text};
		if (arg->is_variable)
			x = pkg_opam_variable(a, arg->text, h);
		put_program(r, a, x.text, b);
	}
}

static void put_machine(struct opam_run *r, struct arena *a, struct buf *b)
{
	static const char *const tools[] = {"cc", "gcc", "g++", "ld", "as", "ar"};
	char hex[65];
	hex_of(r->reuse.release, hex);
	buf_printf(b, "release %s\n", hex);
	for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++)
		put_program(r, a, str_c(tools[i]), b);
}

/* -- packages of the system ------------------------------------------------------------------------------------------------ */

static void read_pairs(struct opam_run *r, struct str text, const char *name_field, const char *version_field)
{
	struct str line, name = STR_NONE;
	while (str_take_line(&text, &line)) {
		if (line.n == 0) {
			name = STR_NONE;
		} else if (str_take_str(&line, str_c(name_field))) {
			name = str_trim(line);
		} else if (name.n && str_take_str(&line, str_c(version_field))) {
			char *version = arena_strdup(r->arena, str_trim(line));
			*map_put(r->reuse.system, str_c(arena_strdup(r->arena, name))) = (uint64_t)(uintptr_t)version;
		}
	}
}

static void read_system(struct opam_run *r)
{
	static const struct {
		const char *kind, *path, *name, *version;
	} kinds[] = {{"dpkg", "/var/lib/dpkg/status", "Package: ", "Version: "},
		     {"apk", "/lib/apk/db/installed", "P:", "V:"},
		     {"apk", "/usr/lib/apk/db/installed", "P:", "V:"}};
	static const char *const others[] = {"/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite",
					     "/var/lib/rpm/Packages", "/var/lib/pacman/local"};
	r->reuse.system = xcalloc(1, sizeof(struct map));
	r->reuse.system_kind = "none";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		auto_buf b = BUF_INIT(STATUS_MAX);
		struct err ignored = ERR_INIT;
		if (fs_read(AT_FDCWD, kinds[i].path, &b, &ignored) < 0)
			continue;
		r->reuse.system_kind = kinds[i].kind;
		read_pairs(r, buf_str(&b), kinds[i].name, kinds[i].version);
		return;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct stat st;
		if (stat(others[i], &st) == 0) { /* any change of any of them */
			r->reuse.system_kind = arena_printf(r->arena, "%s %lld.%09ld %lld", others[i],
							    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
							    (long long)st.st_size);
			return;
		}
	}
}

static void put_system(struct opam_run *r, struct arena *a, const struct pkg_opam *o, const struct pkg_opam_host *h,
		       struct buf *b)
{
	for (size_t i = 0; i < o->depexts.n; i++) {
		const struct pkg_opam_line *l = &o->depexts.v[i];
		if (!pkg_opam_holds(a, l->filter, h))
			continue;
		if (!r->reuse.system)
			read_system(r);
		if (r->reuse.system->n == 0)
			buf_printf(b, "system %s\n", r->reuse.system_kind);
		for (size_t k = 0; k < l->n; k++) {
			const uint64_t *v = map_get(r->reuse.system, l->arg[k].text);
			buf_printf(b, "system %s %.*s %s\n", r->reuse.system_kind, STR_ARG(l->arg[k].text),
				   v ? (const char *)(uintptr_t)*v : "");
		}
	}
}

/* What is outside of the prefix and a package stands for. */
static void put_outside(struct look *l, struct env_opam_vars *vars, const struct member *m, struct buf *b)
{
	static const char *const compiler[] = {"ocaml", "ocamlc", "ocamlc.opt", "ocamlopt", "ocamlopt.opt"};
	struct pkg_opam_host h = env_opam_host(vars, m->name, m->version, m->opam->file, NULL, 0);
	put_system(l->r, l->a, m->opam, &h, b);
	bool is_system_ocaml = str_eq_c(m->name, "ocaml-system") ||
			       ((m->opam->flags & PKG_OPAM_CONF) && (m->opam->flags & PKG_OPAM_COMPILER));
	if (m->opam->flags & PKG_OPAM_CONF)
		put_commands(l->r, l->a, &m->opam->build, &h, b);
	for (size_t i = 0; is_system_ocaml && i < sizeof(compiler) / sizeof(*compiler); i++)
		put_program(l->r, l->a, str_c(compiler[i]), b);
}

/* == the key ============================================================================================================== */

static bool put_member(struct look *l, struct env_opam_vars *vars, const struct member *m, struct buf *b)
{
	char content[65];
	if (!content_of(l, m, content))
		return false;
	buf_printf(b, "needs %.*s %.*s %s\n", STR_ARG(m->name), STR_ARG(m->version), content);
	for (size_t i = 0; i < m->opam->setenvs; i++)
		buf_printf(b, "sets %.*s %d %.*s\n", STR_ARG(m->opam->setenv[i].variable), (int)m->opam->setenv[i].op,
			   STR_ARG(m->opam->setenv[i].value));
	put_outside(l, vars, m, b);
	return true;
}

static bool put_closure(struct closure *c, struct env_opam_vars *vars, struct str self, struct buf *b)
{
	for (size_t i = 0; i < c->v.n; i++) { /* grows on the way */
		struct member m = c->v.v[i];
		if (!str_eq(m.name, self))
			add_depends(c, vars, &m, false);
	}
	vec_sort(&c->v, member_cmp);
	vec_foreach(m, &c->v)
		if (!str_eq(m->name, self) && !put_member(c->l, vars, m, b))
			return false;
	return true;
}

static void put_package(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct closure *c,
			struct map *variables, struct buf *b)
{
	auto_buf fields = BUF_INIT(KEY_TEXT_MAX);
	pkg_opam_print_normal(building_fields(a, p->opam->file), &fields);
	add_mentioned(c, variables, arena_str(a, buf_str(&fields)));
	buf_printf(b, "slipway-opam-built 1\npackage %.*s %.*s\nprefix %s\n", STR_ARG(p->name), STR_ARG(p->version),
		   r->prefix);
	buf_printf(b, "confined %d\ntests %d\ndoc %d\nfields %zu\n", r->confined, p->requested && r->o->with_test,
		   p->requested && r->o->with_doc, fields.n);
	buf_put_str(b, buf_str(&fields));
}

/* True: *b is the text of its key. False: it has none, or not yet. */
static bool make_key(struct look *l, size_t i, struct buf *b)
{
	struct opam_run *r = l->r;
	const struct build_opam_package *p = &r->o->packages[i];
	struct env_opam_local local[8];
	struct err why = ERR_INIT;
	auto_ptr(env_opam_vars) vars = NULL;
	auto_map variables = MAP_INIT;
	auto_closure c = {.l = l};
	if (env_opam_vars_new(r->o->root, r->o->sw, l->a, &vars, &why) < 0)
		return false;
	locals_of(r, p->requested, local);
	struct pkg_opam_host h = env_opam_host(vars, p->name, p->version, p->opam->file, local, 3);
	struct member self = {p->name, p->version, p->opam, (ptrdiff_t)i};
	struct extra x = {.b = b, .c = &c, .variables = &variables, .a = l->a};
	put_package(r, p, l->a, &c, &variables, b);
	if (!put_sources(p->opam, b) || !put_extras(p, &x))
		return false;
	put_variables(&variables, &h, b);
	put_environment(r, l->a, b);
	put_machine(r, l->a, b);
	put_commands(r, l->a, &p->opam->build, &h, b);
	put_commands(r, l->a, &p->opam->install, &h, b);
	put_outside(l, vars, &self, b);
	add_depends(&c, vars, &self, p->requested);
	return put_closure(&c, vars, p->name, b) && !b->overflow;
}

/* What has nothing to build puts nothing there. */
static bool is_empty(const struct build_opam_package *p)
{
	const struct pkg_opam *o = p->opam;
	return !(p->files && fs_exists(AT_FDCWD, p->files)) &&
	       o->build.n + o->install.n + o->sources + o->extra_files + o->substs.n + o->patches.n == 0;
}

/* With the state locked. */
static bool keyed(struct opam_run *r, size_t i, bool ahead, struct arena *a, char key[65], struct str *text)
{
	struct err why = ERR_INIT;
	struct look l = {.r = r, .a = a, .ahead = ahead};
	auto_buf b = BUF_INIT(KEY_TEXT_MAX);
	if (env_opam_state_read(r->o->sw, a, &l.state, &why) < 0 || !make_key(&l, i, &b))
		return false;
	hex_of(buf_str(&b), key);
	*text = arena_str(a, buf_str(&b));
	return true;
}

/* == ahead ================================================================================================================== */

/* A guess by what is kept: whether i is there, and what it will put into the prefix. */
static void guess(struct opam_run *r, size_t i)
{
	struct opam_reused *u = &r->reuse.v[i];
	const struct pkg_opam *o = r->o->packages[i].opam;
	struct err why = ERR_INIT;
	auto_arena a = ARENA_INIT;
	char key[65];
	struct str text;
	struct env_opam_tree t;
	if (is_empty(&r->o->packages[i])) {
		content_digest(&(struct env_opam_tree){0}, u->content);
		return;
	}
	if (!keyed(r, i, true, &a, key, &text) || opam_kept_read(&r->reuse.kept, key, &a, &t, &why) < 0)
		return;
	content_digest(&t, u->content);
	u->expected = !(o->flags & PKG_OPAM_CONF);
}

/* 1 where all that it needs is known; 0 not yet; -1 something is not there, and nothing can be said. */
static int are_needs_known(const struct opam_run *r, size_t i)
{
	const struct build_opam_package *p = &r->o->packages[i];
	int known = 1;
	for (size_t k = 0; k < p->n_needs; k++) {
		size_t at = p->needs[k];
		if (at >= r->o->n || at == i || !r->o->packages[at].install)
			continue;
		if (!r->reuse.v[at].looked_for)
			known = 0;
		else if (!r->reuse.v[at].content[0])
			return -1;
	}
	return known;
}

static void look_ahead(struct opam_run *r)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < r->o->n; i++) {
			if (!r->o->packages[i].install || r->reuse.v[i].looked_for)
				continue;
			int known = are_needs_known(r, i);
			if (known > 0)
				guess(r, i);
			r->reuse.v[i].looked_for = known != 0;
			more = more || known != 0;
		}
	}
}

int opam_reuse_begin(struct opam_run *r, struct err *e)
{
	const struct build_opam_opts *o = r->o;
	struct opam_reuse *u = &r->reuse;
	struct err ignored = ERR_INIT;
	auto_buf release = BUF_INIT(RELEASE_MAX);
	u->kept = (struct opam_kept){.fd = -1, .lock_fd = -1};
	u->v = arena_array(r->arena, struct opam_reused, o->n);
	for (size_t i = 0; i < o->n; i++)
		u->v[i].lock_fd = -1;
	u->on = o->kept != NULL;
	if (!u->on)
		return 0;
	if (opam_kept_open(&u->kept, o->kept, e) < 0)
		return -1;
	u->programs = xcalloc(1, sizeof(struct map));
	u->contents = xcalloc(1, sizeof(struct map));
	fs_read(AT_FDCWD, "/etc/os-release", &release, &ignored);
	u->release = arena_str(r->arena, buf_str(&release));
	if (!o->anew)
		look_ahead(r);
	return 0;
}

static void free_map(struct map *m)
{
	if (m)
		map_release(m);
	free(m);
}

void opam_reuse_end(struct opam_run *r)
{
	for (size_t i = 0; r->reuse.v && i < r->o->n; i++)
		cleanup_fd(&r->reuse.v[i].lock_fd);
	if (r->reuse.on)
		opam_kept_close(&r->reuse.kept);
	free_map(r->reuse.programs);
	free_map(r->reuse.contents);
	free_map(r->reuse.system);
	r->reuse.on = false;
}

/* == in the steps ============================================================================================================ */

static int take(struct opam_run *r, size_t i, struct arena *a, struct err *e)
{
	struct opam_reused *u = &r->reuse.v[i];
	pthread_mutex_lock(&r->state);
	unsigned number = r->made++;
	pthread_mutex_unlock(&r->state);
	const char *name = arena_printf(a, "kept-%u", number);
	if (sys_mkdirat(r->scratch_fd, name, 0755) < 0)
		return err_sys(e, "make '%s/%s'", r->scratch, name);
	auto_fd dir = fs_open_dir(r->scratch_fd, name, e);
	auto_arena own = ARENA_INIT;
	struct env_opam_tree t;
	int rc = dir < 0 ? -1 : opam_kept_take(&r->reuse.kept, u->key, dir, &own, &t, e);
	if (rc > 0) {
		auto_buf list = BUF_INIT(BUF_MAX);
		env_opam_tree_print(&t, &list);
		pthread_mutex_lock(&r->state);
		u->dir = arena_strdup(r->arena, str_c(name));
		rc = env_opam_tree_parse(r->arena, arena_str(r->arena, buf_str(&list)), name, &u->tree, e) < 0 ? -1 : 1;
		pthread_mutex_unlock(&r->state);
		u->found = rc > 0;
		return rc;
	}
	struct err ignored = ERR_INIT; /* the end of the run removes it */
	fs_remove_tree(r->scratch_fd, name, &ignored);
	return rc;
}

static bool is_cancelled(const struct opam_run *r, int wait_ms)
{
	struct pollfd p = {.fd = r->o->cancel_fd, .events = POLLIN};
	return poll(&p, r->o->cancel_fd >= 0, wait_ms) > 0;
}

/* A package of this run is being built, and others may wait for it. */
static bool holds_any(struct opam_run *r)
{
	bool any = false;
	pthread_mutex_lock(&r->state);
	for (size_t i = 0; i < r->o->n; i++)
		any = any || r->reuse.v[i].lock_fd >= 0;
	pthread_mutex_unlock(&r->state);
	return any;
}

int opam_reuse_find(struct opam_run *r, size_t i, struct arena *a, struct err *e)
{
	const struct pkg_opam *o = r->o->packages[i].opam;
	struct opam_reused *u = &r->reuse.v[i];
	struct str text;
	if (!r->reuse.on || is_empty(&r->o->packages[i]))
		return 0;
	pthread_mutex_lock(&r->state);
	u->keyed = keyed(r, i, false, a, u->key, &text);
	if (u->keyed)
		u->text = arena_str(r->arena, text);
	pthread_mutex_unlock(&r->state);
	if (!u->keyed || r->o->anew || (o->flags & PKG_OPAM_CONF))
		return 0;
	for (;;) { /* who builds it is waited for */
		int rc = take(r, i, a, e);
		if (rc != 0)
			return rc;
		rc = opam_kept_lock(&r->reuse.kept, u->key, &u->lock_fd, e);
		if (rc < 0)
			return -1;
		if (rc > 0)
			return opam_kept_has(&r->reuse.kept, u->key) ? take(r, i, a, e) : 0;
		if (holds_any(r)) /* two runs might wait for each other: then both build it */
			return 0;
		if (is_cancelled(r, WAIT_MS))
			return err_new(e, ERR_FAILED, "cancelled");
	}
}

int opam_reuse_lay(struct opam_run *r, size_t i, struct err *e)
{
	const struct opam_reused *u = &r->reuse.v[i];
	auto_fd dir = fs_open_dir(r->scratch_fd, u->dir, e);
	return dir < 0 ? -1 : env_opam_tree_move(dir, r->o->sw, &u->tree, e);
}

void opam_reuse_installed(struct opam_run *r, size_t i, const struct env_opam_changes *c)
{
	const struct build_opam_package *p = &r->o->packages[i];
	struct opam_reused *u = &r->reuse.v[i];
	struct err why = ERR_INIT;
	struct env_opam_tree t;
	char content[65];
	auto_arena a = ARENA_INIT;
	if (!r->reuse.on)
		return;
	if (u->found)
		r->reuse.n_reused++;
	int rc = env_opam_tree_of(r->o->sw, p->name, c, &a, &t, &why);
	if (rc >= 0) {
		content_digest(&t, content);
		remember(r, p->name, p->version, c, content);
	}
	if (rc > 0 && u->keyed && !u->found)
		rc = opam_kept_put(&r->reuse.kept, u->key, u->text, &t, env_opam_prefix_fd(r->o->sw), r->o->anew, &why);
	else if (rc > 0)
		rc = 0;
	if (rc > 0)
		r->reuse.n_kept++;
	if (rc < 0 && !r->reuse.not_kept)
		r->reuse.not_kept =
			arena_printf(r->arena, "%.*s.%.*s: %s", STR_ARG(p->name), STR_ARG(p->version), why.msg);
	cleanup_fd(&u->lock_fd);
}

void opam_reuse_forget(struct opam_run *r, size_t i)
{
	const struct build_opam_package *p = &r->o->packages[i];
	auto_free char *path = xasprintf(CONTENTS "/%.*s", STR_ARG(p->name));
	auto_free char *nv = xasprintf("%.*s.%.*s", STR_ARG(p->name), STR_ARG(p->version));
	if (!r->reuse.on)
		return;
	pthread_mutex_lock(&r->state);
	map_remove(r->reuse.contents, str_c(nv));
	(void)sys_unlinkat(env_opam_meta_fd(r->o->sw), path, 0);
	cleanup_fd(&r->reuse.v[i].lock_fd);
	pthread_mutex_unlock(&r->state);
}
