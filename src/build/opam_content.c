// SPDX-License-Identifier: Apache-2.0
/*
 * What an installed package put into the prefix, as a digest (build/opam_reuse_key.h). Reading all its files is dear, so it is written down with
 * what stat told of them, and believed as long as stat tells the same.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"
#include "build/opam_reuse_key.h"

enum { CONTENTS_MAX = 4096 };
#define CONTENTS "slipway-contents" /* in .opam-switch */

void opam_reuse_hex(struct str text, char out[65])
{
	uint8_t d[SHA256_SIZE];
	sha256(text.p, text.n, d);
	hex_encode(d, sizeof(d), out);
}

/* Folders aside: which of them were there already depends on what else is. */
void opam_content_digest(const struct env_opam_tree *t, char out[65])
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].kind != ENV_OPAM_FOLDER)
			env_opam_tree_print(&(struct env_opam_tree){.v = &t->v[i], .n = 1}, &b);
	opam_reuse_hex(buf_str(&b), out);
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
	opam_reuse_hex(buf_str(&b), out);
}

void opam_content_remember(struct opam_run *r, struct str name, struct str version, const struct env_opam_changes *c,
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

bool opam_content_installed(struct opam_run *r, struct arena *a, struct str name, struct str version, char out[65])
{
	struct env_opam_changes c;
	struct env_opam_tree t;
	struct err why = ERR_INIT;
	const char *nv = arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	const uint64_t *known = map_get(r->reuse.contents, str_c(nv));
	if (known) {
		memcpy(out, (const char *)(uintptr_t)*known, 65);
		return true;
	}
	if (env_opam_changes_read(r->o->sw, a, name, &c, &why) < 0)
		return false;
	if (!recall(r, name, version, &c, out)) {
		if (env_opam_tree_of(r->o->sw, name, &c, a, &t, &why) < 0)
			return false;
		opam_content_digest(&t, out);
	}
	opam_content_remember(r, name, version, &c, out);
	return true;
}

void opam_content_forget(struct opam_run *r, struct str name, struct str version)
{
	auto_free char *path = xasprintf(CONTENTS "/%.*s", STR_ARG(name));
	auto_free char *nv = xasprintf("%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	map_remove(r->reuse.contents, str_c(nv));
	(void)sys_unlinkat(env_opam_meta_fd(r->o->sw), path, 0);
}
