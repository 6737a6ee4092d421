// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * rpm_header: the lead, the signature and the header of an .rpm file, read without rpm and bounded (rpm's own description of
 * the format: docs/manual/format*.md). Tags are looked up in place; what a tag says is checked when it is asked for, and what is
 * not as it should be is as if it were not there, but for structure that does not hold together: that is ERR_INPUT.
 *
 *	if (rpm_header_read(fd, what, &arena, &h, e) < 0) ...
 *	struct str name = rpm_tag_str(&h.main, RPM_NAME);
 */
#include "channel/channel.h"

enum rpm_tag {
	RPM_SIG_SHA256 = 273, /* of the header, as text; in the signature */
	RPM_SIG_LONGARCHIVESIZE = 271,
	RPM_SIG_PAYLOADSIZE = 1007,
	RPM_NAME = 1000,
	RPM_VERSION = 1001,
	RPM_RELEASE = 1002,
	RPM_EPOCH = 1003,
	RPM_SUMMARY = 1004,
	RPM_DESCRIPTION = 1005,
	RPM_BUILDTIME = 1006,
	RPM_BUILDHOST = 1007,
	RPM_SIZE = 1009,
	RPM_VENDOR = 1011,
	RPM_LICENSE = 1014,
	RPM_PACKAGER = 1015,
	RPM_GROUP = 1016,
	RPM_URL = 1020,
	RPM_ARCH = 1022,
	RPM_OLDFILENAMES = 1027,
	RPM_FILEMODES = 1030,
	RPM_FILEFLAGS = 1037,
	RPM_SOURCERPM = 1044,
	RPM_ARCHIVESIZE = 1046,
	RPM_PROVIDENAME = 1047,
	RPM_REQUIREFLAGS = 1048,
	RPM_REQUIRENAME = 1049,
	RPM_REQUIREVERSION = 1050,
	RPM_NOSOURCE = 1051,
	RPM_NOPATCH = 1052,
	RPM_CONFLICTFLAGS = 1053,
	RPM_CONFLICTNAME = 1054,
	RPM_CONFLICTVERSION = 1055,
	RPM_CHANGELOGTIME = 1080,
	RPM_CHANGELOGNAME = 1081,
	RPM_CHANGELOGTEXT = 1082,
	RPM_OBSOLETENAME = 1090,
	RPM_SOURCEPACKAGE = 1106,
	RPM_PROVIDEFLAGS = 1112,
	RPM_PROVIDEVERSION = 1113,
	RPM_OBSOLETEFLAGS = 1114,
	RPM_OBSOLETEVERSION = 1115,
	RPM_DIRINDEXES = 1116,
	RPM_BASENAMES = 1117,
	RPM_DIRNAMES = 1118,
	RPM_LONGSIZE = 5009,
	RPM_RECOMMENDNAME = 5046,
	RPM_SUGGESTNAME = 5049,
	RPM_SUPPLEMENTNAME = 5052,
	RPM_ENHANCENAME = 5055, /* of these four: name, version, flags in a row */
	RPM_PAYLOADDIGEST = 5092,
	RPM_PAYLOADDIGESTALGO = 5093,
};

struct rpm_tags {
	const uint8_t *index; /* n entries of 16 bytes */
	uint32_t n;
	struct str store;
};
struct rpm_header {
	struct rpm_tags sig, main;
	uint64_t start, end; /* of the header in the file; the payload comes after it */
	bool is_source;
};
int rpm_header_read(int fd, const char *what, struct arena *a, struct rpm_header *ret, struct err *e);

/* The text of a tag (of several languages the first), STR_NONE where there is none. */
struct str rpm_tag_str(const struct rpm_tags *t, enum rpm_tag tag);
/* How many texts a tag has, with the texts in the arena. */
uint32_t rpm_tag_strs(const struct rpm_tags *t, enum rpm_tag tag, struct arena *a, const struct str **ret);
/* Number i of a tag; false where it is not there. */
bool rpm_tag_int(const struct rpm_tags *t, enum rpm_tag tag, uint32_t i, uint64_t *ret);
/* Numbers of a tag: how many, and where they are. */
struct rpm_ints {
	const uint8_t *p;
	uint32_t n;
	uint8_t size; /* bytes of each */
};
struct rpm_ints rpm_tag_ints(const struct rpm_tags *t, enum rpm_tag tag);
uint64_t rpm_ints_get(const struct rpm_ints *v, uint32_t i);
