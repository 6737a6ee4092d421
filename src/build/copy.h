// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * copy: what was walked over (source.h) is written into a root file system.
 *
 * copy_write is called in a process whose "/" is that root, so that no link in it leads anywhere else, and which may read nothing else. Folders on the way to dst are made where
 * they are missing (0755, of the user); those that are there, and links among them, are gone through as they are. What is copied takes the
 * place of what has its name: a file or a link replaces a file, a link or an empty folder, and a folder what is no folder; it is never
 * written through a link. A folder that is copied over a folder is joined with it, and has then the copied one's owner, mode and time.
 *
 * Files get mode 0755 where anybody could execute the source and 0644 else, folders 0755; owner is the step's user, times are the source's.
 */
#include "build/source.h"

struct copy {
	const struct source *source;
	int feed_fd;	/* where copy_feed's files come from */
	struct str dst; /* absolute, NUL-terminated */
	bool into; /* dst is a folder: each item goes into it by its last name; else dst is what the only item becomes */
	uint32_t uid, gid;
};
int copy_write(const struct copy *c, struct err *e);
/* The other end of it, in a process that may read the source: opens its files, one after the other, and hands them over. What goes wrong with
 * them is an error of copy_write's. */
void copy_feed(const struct source *s, int dir_fd, int to_fd);
/* A pair of sockets for the two: ret[0] is copy_write's. */
int copy_pair(int ret[2], struct err *e);
/* Where an entry of an item goes, from dst on: "" is dst itself. */
struct str copy_place(const struct source *s, const struct source_item *item, const struct source_entry *f, bool into,
		      struct arena *a);
