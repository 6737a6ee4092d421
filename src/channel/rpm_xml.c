// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_xml.h"

#include <expat.h>

#include "base/dl.h"

#define EXPAT(X)                                                                                                       \
	X(XML_, ErrorString)                                                                                           \
	X(XML_, GetCurrentByteCount)                                                                                   \
	X(XML_, GetCurrentByteIndex)                                                                                   \
	X(XML_, GetCurrentLineNumber)                                                                                  \
	X(XML_, GetErrorCode)                                                                                          \
	X(XML_, Parse)                                                                                                 \
	X(XML_, ParserCreate)                                                                                          \
	X(XML_, ParserFree)                                                                                            \
	X(XML_, SetCharacterDataHandler)                                                                               \
	X(XML_, SetElementHandler)                                                                                     \
	X(XML_, SetStartDoctypeDeclHandler)                                                                            \
	X(XML_, SetUserData)                                                                                           \
	X(XML_, StopParser)
DL_LIBRARY(expat, "libexpat.so.1", EXPAT, NULL);

enum { PIECE = 1 << 16 };

struct rpm_xml {
	const struct rpm_xml_handler *h;
	XML_Parser parser;
	const char *name; /* of the file */
	struct err *e;
	bool failed;
	unsigned depth;
	bool wants_text;
	unsigned text_depth;
	struct buf text;
	struct buf window;  /* bytes of the file from window_at on */
	uint64_t parsed;    /* what is before has become events */
	uint64_t window_at; /* all offsets are of the unpacked file */
	uint64_t record_at, record_end;
};

unsigned rpm_xml_depth(const struct rpm_xml *x)
{
	return x->depth;
}

void rpm_xml_want_text(struct rpm_xml *x)
{
	x->wants_text = true;
	x->text_depth = x->depth;
	buf_clear(&x->text);
}

struct str rpm_xml_text(const struct rpm_xml *x)
{
	return buf_str(&x->text);
}

struct str rpm_xml_raw(const struct rpm_xml *x)
{
	return str_head(str_skip(buf_str(&x->window), x->record_at - x->window_at), x->record_end - x->record_at);
}

struct str rpm_xml_attribute(const char *const *attributes, const char *name)
{
	for (; attributes[0]; attributes += 2)
		if (strcmp(attributes[0], name) == 0)
			return str_c(attributes[1]);
	return STR_NONE;
}

/* -- what expat calls ---------------------------------------------------------------------------------------------- */

static void stop(struct rpm_xml *x)
{
	x->failed = true;
	expat.StopParser(x->parser, XML_FALSE);
}

static void stop_limit(struct rpm_xml *x, const char *what, unsigned max)
{
	err_new(x->e, ERR_LIMIT, "'%s', line %lu: %s than %u", x->name, expat.GetCurrentLineNumber(x->parser), what,
		max);
	stop(x);
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct rpm_xml *x = ctx;
	if (x->failed)
		return;
	if (x->depth == RPM_XML_DEPTH_MAX) {
		stop_limit(x, "elements are nested deeper", RPM_XML_DEPTH_MAX);
		return;
	}
	if (++x->depth == 2)
		x->record_at = (uint64_t)expat.GetCurrentByteIndex(x->parser);
	if (x->h->start(x->h->ctx, x, str_c(name), (const char *const *)attributes, x->e) < 0)
		stop(x);
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
	struct rpm_xml *x = ctx;
	if (x->failed)
		return;
	if (x->depth == 2)
		x->record_end =
			(uint64_t)expat.GetCurrentByteIndex(x->parser) + (uint64_t)expat.GetCurrentByteCount(x->parser);
	if (x->h->end(x->h->ctx, x, str_c(name), x->e) < 0)
		stop(x);
	if (x->wants_text && x->depth == x->text_depth)
		x->wants_text = false;
	x->depth--;
}

static void XMLCALL on_text(void *ctx, const XML_Char *p, int n)
{
	struct rpm_xml *x = ctx;
	if (x->failed || !x->wants_text || x->depth != x->text_depth)
		return;
	buf_put(&x->text, p, (size_t)n);
	if (x->text.overflow)
		stop_limit(x, "a text is longer", RPM_XML_TEXT_MAX);
}

static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public,
			       int subset)
{
	struct rpm_xml *x = ctx;
	(void)name, (void)system, (void)public, (void)subset;
	if (x->failed)
		return;
	err_new(x->e, ERR_INPUT, "'%s' has a document type (entities could be defined there): refused", x->name);
	stop(x);
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

/* What no record needs any more goes; what cannot be cut into records or tags of a fair size is refused. */
static int slide(struct rpm_xml *x, struct err *e)
{
	uint64_t end = x->window_at + x->window.n;
	XML_Index at = expat.GetCurrentByteIndex(x->parser);
	if (at >= 0 && (uint64_t)at >= x->parsed && (uint64_t)at <= end)
		x->parsed = (uint64_t)at; /* it is not told after every piece */
	uint64_t now = x->parsed;
	uint64_t keep = x->depth >= 2 ? x->record_at : now;
	if (end - now > RPM_XML_TOKEN_MAX)
		return err_new(e, ERR_LIMIT, "'%s': a tag at byte %llu is longer than %d MiB", x->name,
			       (unsigned long long)now, RPM_XML_TOKEN_MAX >> 20);
	if (end - keep > RPM_XML_RECORD_MAX)
		return err_new(e, ERR_LIMIT, "'%s': the record at byte %llu is longer than %d MiB", x->name,
			       (unsigned long long)keep, RPM_XML_RECORD_MAX >> 20);
	/* a long record is not moved for each piece of it */
	size_t gone = (size_t)(keep - x->window_at), left = x->window.n - gone;
	if (gone < left)
		return 0;
	memmove(x->window.p, x->window.p + gone, left);
	buf_truncate(&x->window, left);
	x->window_at = keep;
	return 0;
}

static int parse(struct rpm_xml *x, struct istream *in, struct err *e)
{
	for (bool over = false; !over;) {
		buf_reserve(&x->window, PIECE);
		char *to = x->window.p + x->window.n;
		ssize_t n = istream_read(in, to, PIECE, e);
		if (n < 0)
			return -1;
		over = n == 0;
		x->window.n += (size_t)n;
		x->window.p[x->window.n] = '\0';
		enum XML_Status status = expat.Parse(x->parser, to, (int)n, over);
		if (x->failed)
			return -1;
		if (status != XML_STATUS_OK)
			return err_new(e, ERR_INPUT, "'%s', line %lu: %s", x->name,
				       expat.GetCurrentLineNumber(x->parser),
				       expat.ErrorString(expat.GetErrorCode(x->parser)));
		if (!over && slide(x, e) < 0)
			return -1;
	}
	return 0;
}

int rpm_xml_read(struct istream *in, const struct rpm_xml_handler *h, struct err *e)
{
	if (dl_load(&expat_library, e) < 0)
		return -1;
	struct rpm_xml x = {.h = h, .name = in->name, .e = e};
	x.text = BUF_INIT(RPM_XML_TEXT_MAX);
	x.window = BUF_INIT(3 * (size_t)RPM_XML_RECORD_MAX);
	x.parser = expat.ParserCreate("UTF-8");
	if (!x.parser)
		panic("out of memory");
	expat.SetUserData(x.parser, &x);
	expat.SetElementHandler(x.parser, on_start, on_end);
	expat.SetCharacterDataHandler(x.parser, on_text);
	expat.SetStartDoctypeDeclHandler(x.parser, on_doctype);
	int rc = parse(&x, in, e);
	expat.ParserFree(x.parser);
	buf_release(&x.text);
	buf_release(&x.window);
	return rc;
}
