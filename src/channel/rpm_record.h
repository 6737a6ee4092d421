// SPDX-License-Identifier: Apache-2.0
#pragma once
/* rpm_record: what the three files of metadata say of one package, written from its header as createrepo_c writes it, byte
 * for byte: clients of all ages read that. */
#include "channel/rpm_header.h"

/* What the header does not tell. */
struct rpm_facts {
	struct str sha256_hex, href;
	uint64_t size;
	int64_t mtime_s;
};
struct rpm_texts {
	struct buf primary, filelists, other; /* appended to */
};
/* What the package is called: all of letters that need no care in a path or a URL. */
struct rpm_id {
	struct str name, version, release, arch;
	uint64_t epoch;
};
int rpm_id_read(const struct rpm_header *h, const char *what, struct rpm_id *ret, struct err *e);
int rpm_record_write(const struct rpm_header *h, const struct rpm_id *id, const struct rpm_facts *f, const char *what,
		     struct rpm_texts *ret, struct err *e);

/* Text as it stands in an element or, with quotes and line ends escaped, in an attribute. What is no UTF-8 is taken for
 * Latin-1; what XML cannot hold is left out. */
void rpm_xml_put(struct buf *b, struct str s, bool attribute);
