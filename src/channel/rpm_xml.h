// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * rpm_xml: the elements of a metadata file as they come, by expat behind bounds: memory does not grow with the file. Document
 * types, and with them entities, are refused; so is another encoding than UTF-8, since records are handed on byte for byte.
 *
 * `start` may ask for the element's text (rpm_xml_want_text), which its `end` then finds in rpm_xml_text; only one element's is
 * collected at a time. In `end` at depth 2, a child of the root, rpm_xml_raw gives the bytes of the whole element.
 */
#include "channel/channel.h"

enum {
	RPM_XML_DEPTH_MAX = 32,
	RPM_XML_RECORD_MAX = 64 << 20, /* bytes of a child of the root; the largest known has some 20 MiB */
	RPM_XML_TOKEN_MAX = 4 << 20,   /* bytes of a tag */
	RPM_XML_TEXT_MAX = 64 << 10,
};
struct rpm_xml;
struct rpm_xml_handler {
	/* Attributes: name, value, name, value …, NULL. Names with their prefix, as written. */
	int (*start)(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e);
	int (*end)(void *ctx, struct rpm_xml *x, struct str name, struct err *e);
	void *ctx;
};
int rpm_xml_read(struct istream *in, const struct rpm_xml_handler *h, struct err *e);

unsigned rpm_xml_depth(const struct rpm_xml *x); /* of the element: 1 is the root */
void rpm_xml_want_text(struct rpm_xml *x);
struct str rpm_xml_text(const struct rpm_xml *x);
struct str rpm_xml_raw(const struct rpm_xml *x);
/* The value of an attribute, STR_NONE where it is absent. */
struct str rpm_xml_attribute(const char *const *attributes, const char *name);
