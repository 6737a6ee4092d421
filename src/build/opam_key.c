// SPDX-License-Identifier: Apache-2.0
/*
 * Of what an opam package of an environment is made: a digest that two hosts of the same kind agree on, and that changes with whatever can change what
 * is built. What decides only which packages there are (depends, conflicts, available …) does not count: those that were chosen do, with their own keys.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "build/opam_workshop.h"

#define KEY_VERSION "slipway opam 1"

static void add_text(struct digest *d, struct str s)
{
	uint64_t n = s.n;
	digest_update(d, &n, sizeof(n));
	digest_update(d, s.n ? s.p : "", s.n);
}

static bool says_what_is_built(struct str field)
{
	static const char *const others[] = {
		"author",    "authors", "available",	"bug-reports",	 "bugreports",	"conflict-class",
		"conflicts", "depends", "depexts",	"depopts",	 "description", "dev-repo",
		"doc",	     "flags",	"homepage",	"license",	 "maintainer",	"maintainers",
		"messages",  "name",	"opam-version", "post-messages", "run-test",	"synopsis",
		"tags",	     "version",
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (str_eq_c(field, others[i]))
			return false;
	return !str_starts(field, STR("x-"));
}

/* The fields that count, as opam would lay them out: blanks and comments are nothing. */
static void add_file(struct digest *d, const struct pkg_opam_doc *file)
{
	for (const struct pkg_opam_item *i = file->first; i; i = i->next) {
		auto_buf b = BUF_INIT(BUF_MAX);
		struct pkg_opam_item one = *i;
		if (!says_what_is_built(i->name))
			continue;
		one.next = NULL;
		pkg_opam_print_normal(&one, &b);
		add_text(d, buf_str(&b));
	}
}

void build_opam_file_digest(const struct pkg_opam_doc *file, uint8_t ret[SHA256_SIZE])
{
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	uint8_t out[DIGEST_MAX];
	add_file(d, file);
	digest_final(d, out);
	memcpy(ret, out, SHA256_SIZE);
}

/* The compiler that the host has: what is built with it is as good as it is. */
static int add_host_compiler(struct digest *d, struct err *e)
{
	const char *path = getenv("PATH");
	struct str rest = str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
	for (bool more = true; more;) {
		more = str_take_until(&rest, ':', &dir);
		auto_free char *file = xasprintf("%.*s/ocamlc", STR_ARG(more ? dir : rest));
		auto_fd fd = open(file, O_RDONLY | O_CLOEXEC);
		uint8_t sum[SHA256_SIZE];
		if (fd < 0)
			continue;
		if (sha256_fd(fd, sum, e) < 0)
			return -1;
		digest_update(d, sum, sizeof(sum));
		return 0;
	}
	return 0;
}

static void add_variables(struct digest *d, const struct pkg_opam_host *h, const char *const *names)
{
	for (; *names; names++) {
		struct str value;
		add_text(d, str_c(*names));
		add_text(d, h->variable(h->ctx, str_c(*names), &value) ? value : STR_NONE);
	}
}

static int check_sources(const struct build_opam_package *p, struct err *e)
{
	for (size_t i = 0; i < p->opam->sources; i++)
		if (!p->opam->source[i].checksums)
			return err_new(
				e, ERR_UNSUPPORTED,
				"'%.*s.%.*s' has a source without a checksum ('%.*s'): an environment could not say what it is "
				"made of; 'slipway opam install' installs it in a switch",
				STR_ARG(p->name), STR_ARG(p->version), STR_ARG(p->opam->source[i].src));
	return 0;
}

struct files {
	struct digest *d;
};
static int add_extra(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct files *f = ctx;
	uint8_t sum[SHA256_SIZE];
	if (!S_ISREG(st->st_mode))
		return 0;
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "open '%s'", rel);
	if (sha256_fd(fd, sum, e) < 0)
		return -1;
	add_text(f->d, str_c(rel));
	digest_update(f->d, sum, sizeof(sum));
	return 0;
}

/* Files beside an opam file that does not name them with their digests. */
static int add_files(struct digest *d, const struct build_opam_package *p, struct err *e)
{
	struct files f = {d};
	if (!p->files || p->opam->extra_files || !fs_exists(AT_FDCWD, p->files))
		return 0;
	return fs_walk(AT_FDCWD, p->files, add_extra, &f, e);
}

int opam_key(const struct pkg_opam_host *h, const char *prefix, struct build_made *v, size_t at, struct err *e)
{
	static const char *const usual[] = {"arch", "os", "os-distribution", "os-version", NULL};
	static const char *const of_compiler[] = {"sys-ocaml-version", "sys-ocaml-arch",   "sys-ocaml-cc",
						  "sys-ocaml-libc",    "sys-ocaml-system", NULL};
	struct build_opam_package *p = &v[at].package;
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	uint8_t out[DIGEST_MAX];
	if (check_sources(p, e) < 0)
		return -1;
	add_text(d, STR(KEY_VERSION));
	add_text(d, str_c(prefix));
	add_text(d, p->name);
	add_text(d, p->version);
	add_file(d, p->opam->file);
	add_variables(d, h, usual);
	if (str_search(p->opam->file->text, STR("sys-ocaml")) >= 0) {
		add_variables(d, h, of_compiler);
		if (add_host_compiler(d, e) < 0)
			return -1;
	}
	if (add_files(d, p, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n_needs; i++) {
		add_text(d, v[p->needs[i]].package.name);
		digest_update(d, v[p->needs[i]].key, SHA256_SIZE);
	}
	digest_final(d, out);
	memcpy(v[at].key, out, SHA256_SIZE);
	return 0;
}
