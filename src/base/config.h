// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * config: the little that is configured, read from YAML files.
 *
 *	struct config_sources s = {.root = root_path, .etc = "/etc", .environment = getenv};
 *	struct config c;
 *	if (config_load(&arena, &s, &c, e) < 0) ...               "/etc/slipway/config.yml:3: unknown key 'chanels'; ..."
 *	for (size_t i = 0; i < c.warnings_n; i++) out_warn(&o, "%s", c.warnings[i]);
 *	if (c.channel_alias.s.n) ...                              where it was set: c.channel_alias.file and .line
 *
 * Files, each key from the first of them that has it (a list is not put together from several):
 *
 *	ROOT/config.yml             Slipway's own: an unknown key or a wrong value is an error
 *	/etc/slipway/config.yml
 *	$CONDARC, ~/.condarc, ~/.conda/.condarc, ~/.conda/condarc, ~/.conda/condarc.d/NAME.yml (or .yaml),
 *	$XDG_CONFIG_HOME/conda/.condarc (default ~/.config), /etc/conda/.condarc, /etc/conda/condarc,
 *	/etc/conda/condarc.d/NAME.yml
 *	                            conda's: only the keys marked with * are read, others pass; what cannot be read or
 *	                            understood there is a warning, and the file or key is left out
 *
 * Keys:
 *
 *	channels:          *  what to look in where a command names no channel, best first; "defaults" in it stands for
 *	                      default_channels, "nodefaults" for nothing; not set: default_channels
 *	default_channels:  *  list of channels
 *	channel_alias:     *  base URL (or absolute folder) for bare channel names. There is no built-in one: without it a
 *	                      bare name is an error
 *	custom_channels:   *  map from a bare name to the base URL it lies under: NAME is then URL/NAME
 *	mirrors:              map from the URL of a channel, or of what it lies under, to that of a copy, which is asked in its place
 *	require_signed_plan:  environments ("*": each) that are changed to what their signed plan says, and to nothing else
 *	channel_priority:  *  strict, flexible or disabled (conda's true is flexible, false is disabled)
 *	remote_connect_timeout_secs:  *  as conda's three: how long a connection may take to come about,
 *	remote_read_timeout_secs:     *  how long nothing may come over it,
 *	remote_max_retries:           *  how often a request is made again
 *	remote_silence_secs:  how long nothing may come at all, further tries included
 *	subdir:               the platform to solve for, in place of the host's
 *	services:             what runs the services of environments where no agent does: auto, agent, systemd, systemd-user;
 *	                      SLIPWAY_SERVICES in the environment comes before all files
 *	always_copy:          true or false: copy files into environments, never link them
 *	reserve:              free space that an upgrade leaves, "500 MB", "2 GiB"
 *	pools:                map from the name of a pool of jobs to what it is: capacity, auto, backend, and what that backend understands
 *	autostart:            ignore: something else than what Slipway looks for starts the agent at boot
 *	build:                map: memory, disk (sizes), processes, time_secs (numbers): what each step of a build may have;
 *	                      fast_sync: false: fsync of steps waits for the disk; store: how a new folder of layers keeps them, auto,
 *	                      overlay, btrfs or copy; keep_free: a size: a build first frees what was unused longest until so much is free
 *
 * A value that is null (channels: ~) counts as not there. All results live in the arena.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct config_sources {
	const char *root;			/* NULL: none */
	const char *etc;			/* "/etc"; NULL: none */
	char *(*environment)(const char *name); /* getenv, or a stand-in */
};

/* A value and its origin; file is NULL where it is not set. */
struct config_text {
	struct str s; /* NUL-terminated */
	const char *file;
	uint32_t line;
};
struct config_list {
	const struct config_text *v;
	size_t n;
};
struct config_custom {
	struct config_text name, url; /* url without a slash at its end */
};
struct config_setting {
	struct str name, value; /* NUL-terminated */
};
struct config_pool {
	struct config_text name;
	uint32_t capacity;
	bool automatic;
	struct config_text backend;
	const struct config_setting *settings; /* every other key */
	size_t settings_n;
};
enum config_services {
	CONFIG_SERVICES_AUTO,
	CONFIG_SERVICES_AGENT,
	CONFIG_SERVICES_SYSTEMD,
	CONFIG_SERVICES_SYSTEMD_USER
};
enum config_priority { CONFIG_PRIORITY_UNSET, CONFIG_STRICT, CONFIG_FLEXIBLE, CONFIG_DISABLED };

enum config_store { CONFIG_STORE_AUTO, CONFIG_STORE_OVERLAY, CONFIG_STORE_BTRFS, CONFIG_STORE_COPY };
struct config_build { /* 0: not set */
	uint64_t memory_bytes, disk_bytes, processes, time_s, keep_free_bytes;
	bool no_fast_sync;
	enum config_store store;
};

struct config {
	struct config_list channels, default_channels;
	struct config_text channel_alias; /* without a slash at its end */
	const struct config_custom *custom_channels;
	size_t custom_channels_n;
	const struct config_custom *mirrors; /* name: the URL that stands in locks and recipes */
	size_t mirrors_n;
	struct config_list require_signed_plan;
	const struct config_pool *pools;
	size_t pools_n;
	enum config_priority channel_priority;
	struct config_text subdir;
	bool always_copy;
	uint64_t reserve_bytes; /* 0: not set */
	bool autostart_ignored;
	struct config_build build;
	enum config_services services;
	/* Seconds and a count; -1 where not set. */
	int64_t connect_timeout_s, read_timeout_s, max_retries, silence_s;
	const char *const *warnings;
	size_t warnings_n;
};
/* "500 MB", "2GiB", "1000000": at most 1024 TiB. */
#define CONFIG_SIZE_MAX (UINT64_C(1) << 50)
bool config_size(struct str s, uint64_t *ret);
int config_load(struct arena *a, const struct config_sources *sources, struct config *ret, struct err *e);
