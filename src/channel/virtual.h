// SPDX-License-Identifier: Apache-2.0
#pragma once
/* virtual: what virtual.c and its tests share. Private to channel/. */
#include "channel/channel.h"

/* Where a host shows what it is: this one, or one that a test made up. */
struct virtual_host {
	struct str subdir;   /* what it is */
	const char *root;    /* before /proc and /dev; "" for this host */
	const char *libcuda; /* the GPU driver's library */
};
/* channel_virtual for that host. */
int virtual_of_host(const struct virtual_host *h, struct arena *a, struct str subdir, const char *(*env)(const char *),
		    struct pkg_record **ret, size_t *ret_n, struct err *e);

/* The micro-architecture (a name of archspec's list) that fits the processor which `cpuinfo` (the text of /proc/cpuinfo)
 * describes, for a machine of that subdir's kind ("64", "aarch64", "ppc64le", …). The plain family's name where nothing
 * more is known; STR_NONE where the list has no such family. Never names one that needs what the processor lacks. */
struct str archspec_detect(struct str cpuinfo, struct str arch);
/* The family alone: "x86_64" for "64". */
struct str archspec_family(struct str arch);

/* The mainline part of a kernel release: "6.1.0" of "6.1.0-18-amd64". */
struct str kernel_version(struct str release);
