// SPDX-License-Identifier: Apache-2.0
/* Of the key of a built package: what the host gives, outside of the prefix (build/opam_reuse_key.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "build/opam.h"
#include "build/opam_reuse_key.h"

enum { STATUS_MAX = 64 << 20 };

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

static int text_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void opam_reuse_put_environment(struct opam_run *r, struct arena *a, struct buf *b)
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
	vec_sort(&v, text_cmp);
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

void opam_reuse_put_commands(struct opam_run *r, struct arena *a, const struct pkg_opam_lines *l,
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

void opam_reuse_put_machine(struct opam_run *r, struct arena *a, struct buf *b)
{
	static const char *const tools[] = {"cc", "gcc", "g++", "ld", "as", "ar"};
	char hex[65];
	opam_reuse_hex(r->reuse.release, hex);
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

void opam_reuse_put_outside(struct opam_run *r, struct arena *a, struct str name, const struct pkg_opam *o,
			    const struct pkg_opam_host *h, struct buf *b)
{
	static const char *const compiler[] = {"ocaml", "ocamlc", "ocamlc.opt", "ocamlopt", "ocamlopt.opt"};
	put_system(r, a, o, h, b);
	bool is_system_ocaml = str_eq_c(name, "ocaml-system") ||
			       ((o->flags & PKG_OPAM_CONF) && (o->flags & PKG_OPAM_COMPILER));
	if (o->flags & PKG_OPAM_CONF)
		opam_reuse_put_commands(r, a, &o->build, h, b);
	for (size_t i = 0; is_system_ocaml && i < sizeof(compiler) / sizeof(*compiler); i++)
		put_program(r, a, str_c(compiler[i]), b);
}
