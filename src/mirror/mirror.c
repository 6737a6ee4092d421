// SPDX-License-Identifier: Apache-2.0
#include "mirror/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "mirror/config.h"
#include "mirror/front.h"

int mirror_open(const char *dir, struct mirror **ret, struct err *e)
{
	auto_ptr(mirror) m = xcalloc(1, sizeof(*m));
	m->dir_fd = -1;
	pthread_mutex_init(&m->fronts_lock, NULL);
	auto_free char *path = realpath(dir, NULL);
	if (!path)
		return err_sys(e, "open '%s'", dir);
	m->dir = steal_ptr(&path);
	m->dir_fd = fs_open_dir(AT_FDCWD, m->dir, e);
	if (m->dir_fd < 0)
		return -1;
	m->plain = !fs_exists(m->dir_fd, MIRROR_FILE);
	if (m->plain && !fs_exists(m->dir_fd, PLAIN_FILE))
		return err_new(
			e, ERR_NOT_FOUND,
			"'%s' is neither a mirror nor a folder that follows a channel; make one with 'slipway mirror init' or "
			"'slipway channel create'",
			dir);
	m->db_path = xasprintf("%s/%s/mirror.db", m->dir, m->plain ? WORK_FOLDER : "state");
	if (!m->plain && fs_mkdirs(m->dir_fd, "state", 0700, e) < 0)
		return -1;
	if (mirror_config_read(&m->arena, m->dir_fd, m->dir, m->plain, &m->config, e) < 0)
		return -1;
	*ret = steal_ptr(&m);
	return 0;
}

void mirror_close(struct mirror *m)
{
	if (!m)
		return;
	fronts_end(m);
	pthread_mutex_destroy(&m->fronts_lock);
	cleanup_fd(&m->dir_fd);
	free(m->dir);
	free(m->db_path);
	arena_release(&m->arena);
	free(m);
}

const char *mirror_dir(const struct mirror *m)
{
	return m->dir;
}

bool mirror_is_plain(const struct mirror *m)
{
	return m->plain;
}

const struct mirror_config *mirror_config(const struct mirror *m)
{
	return &m->config;
}

const char *mirror_db_path(const struct mirror *m)
{
	return m->db_path;
}

const struct mirror_channel *mirror_channel(const struct mirror *m, struct str name)
{
	for (size_t i = 0; i < m->config.channels_n; i++)
		if (str_eq(m->config.channels[i].name, name))
			return &m->config.channels[i];
	return NULL;
}

int mirror_tree(const struct mirror *m, const struct mirror_channel *c, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *tree = m->plain ? "." : arena_printf(&a, "content/%.*s", STR_ARG(c->name));
	return fs_open_dir_make(m->dir_fd, tree, e);
}

void mirror_snapshots_configure(const struct mirror *m, struct mirror_snapshots *s)
{
	const struct mirror_snapshot_limits limits = {m->config.snapshots.kept, m->config.snapshots.age_ms,
						      m->config.snapshots.client_bytes};
	mirror_snapshots_limit(s, &limits);
}
