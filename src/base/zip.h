// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * zip: finds members of a ZIP: the two inner archives of a .conda file, which is a ZIP of stored members (deflated ones, and
 * members in a folder, come from people who packed a package again by hand; other tools take them, so do we), and single files
 * of others.
 *
 * Strict on purpose: two readers must never see two different packages in one file. The end record is the last thing in
 * the file, the central directory lies right before it (or before its zip64 form), names come once, and each local
 * header repeats what the directory says. Everything else is ERR_INPUT.
 */
#include <stdbool.h>

#include "base/err.h"
#include "base/stream.h"

struct zip_range {
	uint64_t offset, size;
	bool deflated;
};
struct zip_conda {
	struct zip_range info, pkg; /* info-NAME.tar.zst, pkg-NAME.tar.zst */
};
int zip_conda_find(int fd, const char *what, struct zip_conda *ret, struct err *e);

/* The one member whose name matches: `pattern` is a glob whose '*' does not span '/'. 1 found; 0 there is none; ERR_INPUT
 * where there are several. The directory may have up to 32 MiB, 200000 members. */
int zip_find(int fd, const char *what, struct str pattern, struct zip_range *ret, struct err *e);

/* The bytes of a part of a file, inflated where they are deflated, read by position: several may share one fd, which must
 * outlive them. */
struct istream *istream_range(int fd, struct zip_range r, const char *name);
