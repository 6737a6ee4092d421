// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * config (private to mirror): the options of mirror.yaml and of a channel's file, as tables. One row says how an option is
 * read, what it is where it is not said, and how it is explained in the file that `mirror init` writes; so an option is
 * added in one place.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/yaml.h"
#include "mirror/mirror.h"

enum option_kind {
	OPTION_TEXT,	/* struct str, one line */
	OPTION_FILE,	/* struct str; relative to the folder of the mirror */
	OPTION_URL,	/* struct str: http, https or file URL, or an absolute folder */
	OPTION_LIST,	/* struct mirror_list */
	OPTION_YES,	/* bool: yes, no, true, false */
	OPTION_WORD,	/* an enum: one of `words` */
	OPTION_COUNT,	/* int64_t, min to max */
	OPTION_NUMBER,	/* double, min to max */
	OPTION_TIME,	/* int64_t milliseconds: "90 s", "15 min", "12 h", "7 days" */
	OPTION_SIZE,	/* uint64_t bytes: "500 MB", "2 GiB" */
	OPTION_KIND,	/* const struct channel_kind * */
	OPTION_SECTION, /* a map with a table of its own, `section` */
};
struct option {
	const char *name;
	enum option_kind kind;
	size_t at;
	const char *standard; /* NULL: empty, or as the enclosing scope has it */
	const char *comment;
	double min, max;
	const char *words; /* apart by blanks, in the order of the enum */
	const struct option *section;
};

extern const struct option option_main[], option_upstream[], option_channel[];
/* Values that are not said: of the row, else what stands in *base already. */
int option_defaults(const struct option *table, void *base, struct err *e);
/* The pairs of a map into *base; those of names in `other` (apart by blanks) are the caller's. */
int option_read(struct arena *a, const struct option *table, const struct yaml *map, const char *other, void *base,
		struct err *e);

/* Reads DIR/mirror.yaml and DIR/channels, or FOLDER/.slipway/channel.yaml (`plain`). */
int mirror_config_read(struct arena *a, int dir_fd, const char *dir, bool plain, struct mirror_config *ret,
		       struct err *e);
int mirror_name_check(struct str name, struct err *e);

#define MIRROR_FILE "mirror.yaml"
#define CHANNELS_FOLDER "channels"
#define WORK_FOLDER ".slipway"
#define PLAIN_FILE WORK_FOLDER "/channel.yaml"
