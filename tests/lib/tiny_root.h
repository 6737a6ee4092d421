// SPDX-License-Identifier: Apache-2.0
/*
 * A root for sandboxes in tests: folders and links alone, with the machine's own /usr mounted into it read-only.
 *
 *	struct tiny t = tiny_root();		layers lower, upper, work below test_tmp()
 *	tiny_sh(&t, "echo hello");		opts.argv is set
 *	CHECK_STR(tiny_run(&t), "hello\n");	t.result, t.err; both outputs, at most 64 KiB
 *
 * tiny_as(1000) makes this test's process another user; what is tested unprivileged comes after it.
 */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "lib/test.h"
#include "sandbox/sandbox.h"

struct tiny {
	char dir[128], lower[160], upper[160], work[160];
	const char *layers[1];
	const char *argv[4];
	const char *env[4];
	struct sandbox_mount mounts[8];
	struct sandbox_opts opts;
	struct sandbox_result result;
	struct err err;
	char out[65536];
};

__attribute__((unused)) static void tiny_as(uid_t uid)
{
	if (geteuid() != 0)
		return;
	CHECK(chown(test_tmp(), uid, uid) == 0);
	CHECK(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0); /* as after running a program: its own files in /proc */
}

static void tiny_mkdir(const char *dir, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	CHECK_MSG(mkdir(path, 0755) == 0, "mkdir '%s': %s", path, strerror(errno));
}

static void tiny_link(const char *dir, const char *to, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	CHECK(symlink(to, path) == 0);
}

/* TINY_ROOT=folder: the root is `lower` itself, on a machine without overlays. */
static bool tiny_is_folder(void)
{
	const char *kind = getenv("TINY_ROOT");
	return kind && strcmp(kind, "folder") == 0;
}

__attribute__((unused)) static void tiny_needs_layers(void)
{
	if (tiny_is_folder())
		SKIP("kernel: no overlay");
}

__attribute__((unused)) static struct tiny *tiny_root(void)
{
	static struct tiny t;
	umask(022);
	snprintf(t.dir, sizeof(t.dir), "%s", test_tmp());
	CHECK(chmod(t.dir, 0700) == 0);
	snprintf(t.lower, sizeof(t.lower), "%s/lower", t.dir);
	snprintf(t.upper, sizeof(t.upper), "%s/upper", t.dir);
	snprintf(t.work, sizeof(t.work), "%s/work", t.dir);
	tiny_mkdir(t.dir, "lower");
	tiny_mkdir(t.dir, "upper");
	tiny_mkdir(t.dir, "work");
	tiny_mkdir(t.lower, "usr");
	tiny_mkdir(t.lower, "etc");
	tiny_mkdir(t.lower, "tmp");
	tiny_link(t.lower, "usr/bin", "bin");
	tiny_link(t.lower, "usr/sbin", "sbin");
	tiny_link(t.lower, "usr/lib", "lib");
	tiny_link(t.lower, "usr/lib64", "lib64");
	t.layers[0] = t.lower;
	t.env[0] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
	t.mounts[0] = (struct sandbox_mount){.source = "/usr", .target = "/usr", .readonly = true};
	t.opts = SANDBOX_OPTS_INIT;
	t.opts.root = (struct sandbox_root){.lower = t.layers, .n_lower = 1, .upper = t.upper, .work = t.work};
	if (tiny_is_folder()) {
		snprintf(t.upper, sizeof(t.upper), "%s", t.lower);
		t.opts.root = (struct sandbox_root){.dir = t.lower};
	}
	t.opts.argv = t.argv;
	t.opts.envp = t.env;
	t.opts.mounts = t.mounts;
	t.opts.n_mounts = 1;
	return &t;
}

__attribute__((unused)) static void tiny_sh(struct tiny *t, const char *script)
{
	t->argv[0] = "/bin/sh";
	t->argv[1] = "-c";
	t->argv[2] = script;
	t->argv[3] = NULL;
}

__attribute__((unused)) static const char *tiny_try(struct tiny *t, int *ret)
{
	char path[160];
	snprintf(path, sizeof(path), "%.120s/output", t->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	t->opts.out_fd = fd;
	t->err = ERR_INIT;
	*ret = sandbox_run(&t->opts, &t->result, &t->err);
	ssize_t n = pread(fd, t->out, sizeof(t->out) - 1, 0);
	t->out[n > 0 ? n : 0] = '\0';
	close(fd);
	return t->out;
}

__attribute__((unused)) static const char *tiny_run(struct tiny *t)
{
	int r;
	const char *out = tiny_try(t, &r);
	CHECK_MSG(r == 0, "not started: %s", t->err.msg);
	return out;
}
