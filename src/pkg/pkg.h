// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pkg: names, versions, specs and package records of every ecosystem. Pure: no I/O, no clock, no locale.
 *
 * An ecosystem is one row of the scheme table: how its versions are ordered and its specs are read and matched.
 *
 *	const struct pkg_scheme *s = pkg_scheme_find(str_c("conda"));
 *	const struct version *a = s->version_parse(&arena, str_c("1.0rc1"), e);
 *	int c = s->version_cmp(a, b);                                              <0, 0, >0
 *	const struct spec *m = s->spec_parse(&arena, str_c("numpy >=1.8,<2"), SPEC_DEPENDENCY, e);
 *	bool yes = s->spec_match(m, &record);
 *
 * Sources: names CEP 26, versions CEP 33, specs CEP 29 (MatchSpec) with the keys of CEPs 43, 44, 45 and 48, records CEP 34
 * and 36. Parsed things live in the arena they were given and never change.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

/* -- records ----------------------------------------------------------------------------------------------------- */
/* Bounds of what one record may hold, wherever it is read; real ones stay far below (the largest known has some 600
 * dependencies): the length of a list, the bytes of a text. */
enum { PKG_DEPENDS_MAX = 20000, PKG_TEXT_MAX = 1 << 16 };

/* One package of one channel as its index describes it. Views point into an arena or a mapped index. Absent text is
 * STR_NONE, absent numbers are 0, absent digests have their flag unset. */
struct pkg_record {
	struct str name, version, build;
	uint64_t build_number;
	struct str channel; /* base URL of the channel, without the subdir */
	struct str subdir, fn, url;
	uint64_t size, timestamp_ms;
	bool has_sha256, has_md5;
	uint8_t sha256[SHA256_SIZE], md5[MD5_SIZE];
	struct str noarch;	   /* "", "generic" or "python" */
	struct str track_features; /* as published: words separated by spaces or commas */
	struct str features, license, license_family;
	struct str python_site_packages_path;	/* CEP 17 */
	const struct str *depends, *constrains; /* specs as text; NULL: not known, which is other than none */
	uint32_t depends_n, constrains_n;
	bool is_v3;	       /* published under "v3" (CEP 48): its specs are to be read with SPEC_V3 */
	struct str extra_json; /* all other members of the record, as "\"k\":v,\"k\":v" JSON text; may be empty */
};

/* The record as JSON members of the object that w has open (name, version, …, url, sha256, and extra_json last), and back.
 * Reading wants name, version and build (fn and url fill in for each other); it is strict about types and bounds and keeps unknown members in
 * extra_json. Views point into j's arena or into a. */
void pkg_record_write(struct jw *w, const struct pkg_record *r);
/* What a record says besides, but for the keys that its writer has said already. */
void pkg_record_put_extra(struct jw *w, struct str extra, bool (*is_said)(struct str key));
int pkg_record_read(struct arena *a, const struct json *j, struct pkg_record *ret, struct err *e);
/* Same package: digest where both have one, else channel-independent name, version, build and subdir. */
bool pkg_record_same(const struct pkg_record *x, const struct pkg_record *y);

/* -- names (CEP 26) ---------------------------------------------------------------------------------------------- */
int pkg_name_check(struct str name, struct err *e);
int pkg_build_check(struct str build, struct err *e);
int pkg_subdir_check(struct str subdir, struct err *e);
bool pkg_subdir_known(
	struct str s); /* a platform that is in use: "linux-64", "noarch" … (a channel may end in others) */
/* "name-version-build.ext" apart; false where it is not of that form. ext is "conda" or "tar.bz2". */
bool pkg_filename_split(struct str fn, struct str *name, struct str *version, struct str *build, struct str *ext);
/* A Python entry point, "program = module:function [extra]" (CEP 34), apart: target is "module:function". ERR_INPUT where the
 * program is not the name of a file or the target not dotted names. */
int pkg_entry_point_parse(struct str text, struct str *ret_program, struct str *ret_target, struct err *e);

/* -- versions and specs, by scheme ------------------------------------------------------------------------------- */
struct version; /* a parsed version; opaque */
struct spec;	/* a parsed spec; opaque */

enum spec_flags {
	SPEC_DEPENDENCY = 1
			  << 0, /* from a package's depends or constrains: tolerant of what old channels really hold */
	SPEC_REQUEST = 1 << 1,	/* from a person: strict, with hints in the message */
	SPEC_V3 = 1 << 2,	/* name and brackets only, `when`, `extras`, `flags` allowed (CEP 43) */
};

struct pkg_scheme {
	const char *name; /* "conda" */
	/* NULL with *e on malformed text; the message quotes it and points at the place. */
	const struct version *(*version_parse)(struct arena *a, struct str text, struct err *e);
	int (*version_cmp)(const struct version *a, const struct version *b);
	const struct spec *(*spec_parse)(struct arena *a, struct str text, enum spec_flags flags, struct err *e);
	/* Whole match: name, version, build, channel, digests, every key. */
	bool (*spec_match)(const struct spec *s, const struct pkg_record *r);
	/* The solver's inner loop, for a candidate whose name is the spec's: the version part alone, and everything else.
	 * spec_is_version_only tells that the second is always true, so that it need not be asked for each build. */
	bool (*spec_match_version)(const struct spec *s, const struct version *v, struct str text);
	bool (*spec_match_rest)(const struct spec *s, const struct pkg_record *r);
	bool (*spec_is_version_only)(const struct spec *s);
	/* The canonical form (CEP 29, appendix A). */
	void (*spec_format)(const struct spec *s, struct buf *b);
};
const struct pkg_scheme *pkg_scheme_find(struct str name); /* NULL where there is none */

/* A conda version as CEPs 26 and 33 allow it to be published: ≤ 64 characters, numbers ≤ 2^31-1. version_parse reads more (up
 * to 256 characters, numbers up to 2^64-1), because channels are older than the rule and one odd record must not hide. */
int pkg_version_check(struct str version, struct err *e);
extern const struct pkg_scheme pkg_conda;

/* Debian's order of versions (Policy 5.6.12): <0, 0, >0. Any two texts have one. */
int pkg_deb_version_cmp(struct str a, struct str b);
/* "[EPOCH:]UPSTREAM[-REVISION]" of the characters that dpkg takes, at most 256. */
int pkg_deb_version_check(struct str version, struct err *e);
/* -- RPM versions (rpm-version(7)) ------------------------------------------------------------------------------- */
/* "epoch:version-release" apart: views into the text; epoch may be empty, which is 0, and so may release. */
struct pkg_rpm_evr {
	struct str epoch, version, release;
};
struct pkg_rpm_evr pkg_rpm_evr_parse(struct str text);
/* -1, 0, 1; any text has its place, so there is no error. */
int pkg_rpm_evr_cmp(const struct pkg_rpm_evr *a, const struct pkg_rpm_evr *b);
/* Of a version or a release alone. */
int pkg_rpm_vercmp(struct str a, struct str b);

/* What other modules ask of a spec. */
struct str spec_name(const struct spec *s);    /* lower case; STR_NONE where it is a pattern or "*" */
struct str spec_channel(const struct spec *s); /* as written, without subdir; STR_NONE where absent */
struct str spec_subdir(const struct spec *s);
struct str spec_text(const struct spec *s); /* as it was given */
struct str spec_version_text(const struct spec *s);
struct str spec_build_text(const struct spec *s);
struct str spec_when(const struct spec *s); /* the condition of CEP 43's `when`; STR_NONE where absent */
uint32_t spec_extras(const struct spec *s, const struct str **ret); /* CEP 44: groups asked for; returns how many */
bool spec_matches_name(const struct spec *s, struct str name);	    /* for patterns and "*" too */

/* `when` as a tree; the spec counts only where it is true. NULL where there is none. */
enum spec_condition_op { SPEC_CONDITION_SPEC, SPEC_CONDITION_AND, SPEC_CONDITION_OR };
struct spec_condition {
	enum spec_condition_op op;
	const struct spec *spec; /* SPEC_CONDITION_SPEC: true where a chosen or virtual package matches it */
	const struct spec_condition *left, *right; /* AND, OR */
};
const struct spec_condition *spec_condition(const struct spec *s);
bool spec_sha256(const struct spec *s, uint8_t ret[SHA256_SIZE]);
/* CEP 29 wants all segments before a '*' to be equal, so that "openssl 1.1.1*" is not 1.1.1k. Requests are read so. In a
 * dependency the last segment need only begin that of the version, as every client has read them since there are channels:
 * the packages of 2012 to 2018 that need "openssl 1.0.2*", each Python among them, cannot be installed otherwise.
 * True where a request does not match `version`, but would if it were read like a dependency: lets a message say so. */
bool spec_would_match_loosely(const struct spec *s, struct str version);

/* -- Python's versions (PEP 440) ---------------------------------------------------------------------------------- */
/* As pip's own library orders them. At most 4096 characters and 1024 parts; NULL with ERR_INPUT where it is none. */
struct pep440;
const struct pep440 *pep440_parse(struct arena *a, struct str text, struct err *e);
int pep440_cmp(const struct pep440 *a, const struct pep440 *b);
bool pep440_is_pre(const struct pep440 *v); /* a pre-release or dev: chosen only where that is asked for */
void pep440_format(const struct pep440 *v, struct buf *b); /* the normal form: "1.0RC_1" as "1.0rc1" */

/* -- what packages need (deb, rpm, opam) --------------------------------------------------------------------------- */
/* opam's order of versions: Debian's of what stands before the last '-' and then of what stands behind it; a text without '-' has
 * nothing behind it. Different texts may be equal (1.0, 1.00, 1.0-0). */
int pkg_opam_version_cmp(struct str a, struct str b);
/* RPM's, of "epoch:version-release"; a release that one of them lacks does not count. */
int pkg_rpm_version_cmp(struct str a, struct str b);

/* Which versions of a name will do. NULL: any. */
enum pkg_range_op { PKG_BELOW, PKG_UP_TO, PKG_EXACTLY, PKG_OTHER, PKG_FROM, PKG_ABOVE, PKG_BOTH, PKG_EITHER };
struct pkg_range {
	enum pkg_range_op op;
	struct str version;
	const struct pkg_range *left, *right; /* BOTH, EITHER */
};
typedef int pkg_version_cmp_fn(struct str a, struct str b);
bool pkg_range_has(const struct pkg_range *r, struct str version, pkg_version_cmp_fn *cmp);

/*
 * A formula over names: what must be, or must not be, installed. NULL is the formula that says nothing.
 *
 *	a | b, (a or b)		OR
 *	a, b; (a and b)		AND
 *	(a if b else c)		IF: a where b is, c (or nothing) where it is not
 *	(a unless b else c)	UNLESS: a where b is not, c (or nothing) where it is
 *	(a with b)		WITH: one package that is both
 *	(a without b)		WITHOUT: one package that is a and is not b
 */
enum pkg_need_op {
	PKG_NEED_NAME,
	PKG_NEED_AND,
	PKG_NEED_OR,
	PKG_NEED_IF,
	PKG_NEED_UNLESS,
	PKG_NEED_WITH,
	PKG_NEED_WITHOUT
};
struct pkg_need {
	enum pkg_need_op op;
	struct str name, arch; /* deb: arch of "python3:any"; else STR_NONE */
	const struct pkg_range *range;
	const struct pkg_need *left, *right, *otherwise;
};
/* "a (>= 2) or b", for messages. */
void pkg_need_format(const struct pkg_need *n, struct buf *b);
enum { PKG_NEED_DEPTH_MAX = 64, PKG_NEED_NAMES_MAX = 10000 };
/* "a (>= 1.2) | b:any, c", and as people write it "a=1.2"; restrictions to architectures or profiles ("[amd64]", "<!nocheck>") are passed over.
 * ERR_INPUT. All parsers: views are of the text or the arena. */
int pkg_deb_need_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e);
/* "name", "name >= 1:2.0-1", "/usr/bin/x", "lib.so()(64bit)", and rich ones in parentheses. */
int pkg_rpm_need_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e);

/* -- opam files: text and tree ----------------------------------------------------------------------------------------- */
/*
 * Every file in opam's format (opam, repo, config, switch-state, .config, .install): read without loss, printed back byte for byte or in
 * opam's own layout.
 *
 *	struct pkg_opam_doc d;
 *	if (pkg_opam_read(&arena, text, "x.1/opam", &d, e) < 0) ...        "x.1/opam:3:12: a string does not end"
 *	const struct pkg_opam_value *v = pkg_opam_get(&d, "depends");     NULL: it is not there
 *	for (const struct pkg_opam_value *x = pkg_opam_first(v); x; x = x->next) ...
 *
 * Views point into the text, which must outlive the tree, or into the arena. Reading goes on behind a fault: *e tells the first one, the
 * others are in the doc, and what could be read is there. Source: opam's manual, "General syntax", and its lexer and grammar (decision
 * 0080). Places are bytes of the text; lines and columns count from 1.
 */
enum { PKG_OPAM_FILE_MAX = 4 << 20, PKG_OPAM_DEPTH_MAX = 64, PKG_OPAM_HEIGHT_MAX = 2000, PKG_OPAM_FAULTS_MAX = 16 };

enum pkg_opam_kind {
	PKG_OPAM_BOOL,	       /* number: 0 or 1 */
	PKG_OPAM_INT,	       /* number */
	PKG_OPAM_STRING,       /* text: without quotes, escapes resolved */
	PKG_OPAM_IDENT,	       /* text: may be "pkg:var" */
	PKG_OPAM_LIST,	       /* [first …] */
	PKG_OPAM_GROUP,	       /* (first …) */
	PKG_OPAM_OPTION,       /* left { first … } */
	PKG_OPAM_RELOP,	       /* left op right */
	PKG_OPAM_PREFIX_RELOP, /* op left */
	PKG_OPAM_LOGOP,	       /* left op right: PKG_OPAM_AND, PKG_OPAM_OR */
	PKG_OPAM_PFXOP,	       /* op left: PKG_OPAM_NOT, PKG_OPAM_DEFINED */
	PKG_OPAM_BINDING       /* left op right: environment variables */
};
enum pkg_opam_op { /* the first six are in the order of enum pkg_range_op */
		   PKG_OPAM_BELOW,
		   PKG_OPAM_UP_TO,
		   PKG_OPAM_EQUAL,
		   PKG_OPAM_OTHER,
		   PKG_OPAM_FROM,
		   PKG_OPAM_ABOVE,
		   PKG_OPAM_SIMILAR, /* "~", an old word for >= */
		   PKG_OPAM_AND,
		   PKG_OPAM_OR,
		   PKG_OPAM_NOT,
		   PKG_OPAM_DEFINED,
		   PKG_OPAM_SET,	   /* = */
		   PKG_OPAM_PREPEND,	   /* += */
		   PKG_OPAM_APPEND,	   /* =+ */
		   PKG_OPAM_REPLACE,	   /* =+= */
		   PKG_OPAM_PREPEND_COLON, /* := */
		   PKG_OPAM_APPEND_COLON   /* =: */
};
struct pkg_opam_value {
	uint8_t kind, op;	  /* enum pkg_opam_kind, enum pkg_opam_op */
	uint16_t height;	  /* of the tree below, so that walking it is bounded */
	uint32_t from, to, op_at; /* its place; all 0: it was made, not read */
	int64_t number;
	struct str text;
	const struct pkg_opam_value *left, *right, *first; /* first: of what brackets hold */
	const struct pkg_opam_value *next;		   /* the next in the same brackets */
};
/* "name: value", or a section "name { items }", "name "title" { items }". */
struct pkg_opam_item {
	struct str name;
	bool is_section;
	struct str title;		    /* STR_NONE where it has none */
	const struct pkg_opam_value *value; /* of a field */
	const struct pkg_opam_item *first;  /* of a section; NULL: it is empty */
	const struct pkg_opam_item *next;
	uint32_t from, to, open_at; /* open_at: of ':' or '{' */
	uint32_t title_from, title_to;
};
struct pkg_opam_fault {
	uint32_t at;
	const char *why;
};
struct pkg_opam_doc {
	struct str text;
	const char *where; /* for messages */
	const struct pkg_opam_item *first;
	struct pkg_opam_fault fault[PKG_OPAM_FAULTS_MAX]; /* the first of them */
	size_t faults;
};
/* 0; -1 with ERR_INPUT "where:line:column: why" of the first fault, *ret usable; -1 with ERR_LIMIT, *ret empty. */
int pkg_opam_read(struct arena *a, struct str text, const char *where, struct pkg_opam_doc *ret, struct err *e);
void pkg_opam_place(const struct pkg_opam_doc *d, uint32_t at, size_t *line, size_t *column);
/* ERR_INPUT "where:line:column: why". */
int pkg_opam_fault(const struct pkg_opam_doc *d, uint32_t at, const char *why, struct err *e);

/* The first field of that name at the top, or in a section; NULL where there is none. */
const struct pkg_opam_value *pkg_opam_get(const struct pkg_opam_doc *d, const char *field);
const struct pkg_opam_value *pkg_opam_get_in(const struct pkg_opam_item *section, const char *field);
/* The first section of a name, or the next one behind `after`. */
const struct pkg_opam_item *pkg_opam_section(const struct pkg_opam_doc *d, const char *name,
					     const struct pkg_opam_item *after);
/* The elements of a list; of another value, which stands for a list of one, itself. (x->next of that is not to be followed where it stands in
 * brackets itself; no field's value does.) NULL for NULL. */
const struct pkg_opam_value *pkg_opam_first(const struct pkg_opam_value *v);
/* The text of a string or ident; STR_NONE for all else and NULL. */
struct str pkg_opam_text(const struct pkg_opam_value *v);

/* The tree of a text that was read, and what lies between its tokens: the same bytes. */
void pkg_opam_print(const struct pkg_opam_doc *d, struct buf *b);
/* In the layout in which opam writes files (lines up to 78). A value alone comes as on one line of its own. */
void pkg_opam_print_normal(const struct pkg_opam_item *first, struct buf *b);
void pkg_opam_print_value(const struct pkg_opam_value *v, struct buf *b);
bool pkg_opam_same(const struct pkg_opam_item *a, const struct pkg_opam_item *b); /* lists of items, places aside */

/* Changing and making: trees are put together in an arena, existing ones stay as they are. */
struct pkg_opam_value *pkg_opam_make(struct arena *a, enum pkg_opam_kind kind,
				     struct str text); /* string, ident, list … */
struct pkg_opam_value *pkg_opam_make_list(struct arena *a, enum pkg_opam_kind kind,
					  const struct pkg_opam_value *const *v, size_t n);
/* A copy of an item goes behind the others. */
struct pkg_opam_items {
	struct pkg_opam_item *first, *last;
};
void pkg_opam_append(struct arena *a, struct pkg_opam_items *to, const struct pkg_opam_item *i);
struct pkg_opam_item *pkg_opam_make_field(struct arena *a, const char *name, const struct pkg_opam_value *v);
struct pkg_opam_item *pkg_opam_make_section(struct arena *a, const char *name, struct str title,
					    const struct pkg_opam_item *first);
/* The text of the file with one field at the top said anew (v NULL: taken out), all else as it stands; a field that is not there is added at
 * the end of the fields. */
void pkg_opam_edit(const struct pkg_opam_doc *d, const char *field, const struct pkg_opam_value *v, struct buf *b);

/* -- opam files: filters and formulas ------------------------------------------------------------------------------------ */
/*
 * Both are trees of one kind, read once and decided as often as there are hosts. NULL is the formula that says nothing and the filter that
 * is true. In a formula PACKAGE has as `left` its condition: VERSION relations and filters, side by side.
 */
enum pkg_opam_expr_kind {
	PKG_OPAM_E_TRUE,
	PKG_OPAM_E_FALSE,
	PKG_OPAM_E_STRING,   /* text, with its %{…}% */
	PKG_OPAM_E_VARIABLE, /* text: "os", "pkg:var", "a+b:installed", "_:var", "x?yes:no" */
	PKG_OPAM_E_RELATION, /* left relation right */
	PKG_OPAM_E_AND,
	PKG_OPAM_E_OR,
	PKG_OPAM_E_NOT,	    /* left */
	PKG_OPAM_E_DEFINED, /* left */
	PKG_OPAM_E_VERSION, /* of the package: relation left (a string or variable) */
	PKG_OPAM_E_PACKAGE  /* text { left } */
};
struct pkg_opam_expr {
	uint8_t kind, relation; /* enum pkg_opam_expr_kind, enum pkg_range_op */
	uint32_t at;
	struct str text;
	const struct pkg_opam_expr *left, *right;
};
/* The value of depends or depopts (`any` false: the elements of a list are all meant) or of conflicts (true). */
int pkg_opam_formula_of(struct arena *a, const struct pkg_opam_doc *d, const struct pkg_opam_value *v, bool any,
			const struct pkg_opam_expr **ret, struct err *e);
/* The value of `available`, or what stands in the braces of a command: `first` of an option. */
int pkg_opam_filter_of(struct arena *a, const struct pkg_opam_doc *d, const struct pkg_opam_value *v,
		       const struct pkg_opam_expr **ret, struct err *e);
/* As opam writes it: "os = "linux" & !(a | b)", ""dune" {>= "3.0" & with-test}". */
void pkg_opam_expr_format(const struct pkg_opam_expr *x, struct buf *b);

/*
 * Variables. The host says what it knows: booleans as "true" and "false", numbers as digits, a list as its elements joined by blanks (and singly,
 * where `list` is there). It is asked for "os", for "pkg:var" once a package, and, where the filter says "_:var", for "SELF:var".
 */
typedef bool pkg_opam_variable_fn(void *ctx, struct str name, struct str *ret);
struct pkg_opam_host {
	pkg_opam_variable_fn *variable; /* false: it is not defined */
	void *ctx;
	struct str self; /* the package whose file it is; empty: "_:var" is asked for as "var" */
	bool (*list)(void *ctx, struct str name, const struct str **ret, size_t *ret_n); /* NULL: there are no lists */
};
/* What a filter comes to: undefined is handed on but where & has a false and | a true side. Text where it is no truth. */
enum pkg_opam_is { PKG_OPAM_IS_FALSE, PKG_OPAM_IS_TRUE, PKG_OPAM_IS_UNDEFINED, PKG_OPAM_IS_TEXT };
struct pkg_opam_result {
	enum pkg_opam_is is;
	struct str text;
};
struct pkg_opam_result pkg_opam_eval(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h);
/* True where it is true; NULL is. */
bool pkg_opam_holds(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h);
/* A formula with its filters decided; what is filtered out says nothing; *ret is NULL where all is. A version by a variable that is not defined
 * is any. ERR_LIMIT past PKG_NEED_NAMES_MAX. */
int pkg_opam_need_of(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h,
		     const struct pkg_need **ret, struct err *e);
/* One variable: "os", "pkg:var", "a+b:installed", "pkg:enable", "x?yes:no". */
struct pkg_opam_result pkg_opam_variable(struct arena *a, struct str ident, const struct pkg_opam_host *h);
/* "%{…}%" replaced, "%%" made "%"; what is not defined becomes nothing. */
struct str pkg_opam_expand(struct arena *a, struct str text, const struct pkg_opam_host *h);
/* A whole file.in (field substs): as above; in a file of opam's format values within quotes get their escapes. */
struct str pkg_opam_subst(struct arena *a, struct str text, const struct pkg_opam_host *h);

/* -- opam files: a package ------------------------------------------------------------------------------------------------ */

struct pkg_opam_strs {
	const struct str *v;
	size_t n;
};
/* "text" {filter}, or variable {filter} */
struct pkg_opam_arg {
	struct str text;
	bool is_variable;
	const struct pkg_opam_expr *filter;
	uint32_t at;
};
/* [arg …] {filter}: a command; system packages; one message, patch or file alone is a line of one arg. */
struct pkg_opam_line {
	const struct pkg_opam_arg *arg;
	size_t n;
	const struct pkg_opam_expr *filter;
	uint32_t at;
};
struct pkg_opam_lines {
	const struct pkg_opam_line *v;
	size_t n;
};
struct pkg_opam_binding {
	struct str variable, value; /* value: with its %{…}% */
	enum pkg_opam_op op;	    /* PKG_OPAM_SET … */
};
struct pkg_opam_source {
	struct str file; /* extra-source's; STR_NONE: url's */
	struct str src, subpath;
	struct pkg_opam_strs mirrors;
	const struct digest_value *checksum; /* md5, sha256, sha512, as listed */
	size_t checksums;
};
struct pkg_opam_file { /* extra-files */
	struct str path;
	struct digest_value checksum;
};
struct pkg_opam_pin { /* pin-depends */
	struct str name, version, url;
};
enum pkg_opam_flag {
	PKG_OPAM_LIGHT_UNINSTALL = 1 << 0,
	PKG_OPAM_VERBOSE = 1 << 1,
	PKG_OPAM_PLUGIN = 1 << 2,
	PKG_OPAM_COMPILER = 1 << 3,
	PKG_OPAM_CONF = 1 << 4,
	PKG_OPAM_AVOID_VERSION = 1 << 5,
	PKG_OPAM_DEPRECATED = 1 << 6
};
struct pkg_opam {
	struct str opam_version, name, version, synopsis, description, dev_repo; /* STR_NONE where absent */
	struct pkg_opam_strs maintainer, authors, license, homepage, doc_urls, bug_reports, tags, conflict_class;
	const struct pkg_opam_expr *depends, *depopts, *conflicts, *available;
	unsigned flags;							/* enum pkg_opam_flag; others are passed over */
	struct pkg_opam_lines build, install, remove, run_test;		/* commands */
	struct pkg_opam_lines depexts;					/* args: names of system packages */
	struct pkg_opam_lines messages, post_messages, patches, substs; /* lines of one arg */
	const struct pkg_opam_binding *setenv, *build_env;
	size_t setenvs, build_envs;
	const struct pkg_opam_source *source; /* url first, if it is there, then extra-source by title */
	size_t sources;
	const struct pkg_opam_file *extra_file;
	size_t extra_files;
	const struct pkg_opam_pin *pin;
	size_t pins;
	const struct pkg_opam_doc *file; /* x-* and all else: pkg_opam_get */
};
/*
 * The fields of an opam file with their types. A field that is not of its type is passed over and noted in the doc's faults; -1 with the first
 * of them, *ret has all the others.
 */
int pkg_opam_package(struct arena *a, struct pkg_opam_doc *d, struct pkg_opam *ret, struct err *e);
/* A command with its filters decided and its words expanded: how many words; 0: it is not to be run. */
size_t pkg_opam_argv(struct arena *a, const struct pkg_opam_line *l, const struct pkg_opam_host *h,
		     const struct str **ret);
/* The system packages that depexts name where its filters hold: each once, sorted; as they are written, whatever they are. How many. */
size_t pkg_opam_system(struct arena *a, const struct pkg_opam_lines *l, const struct pkg_opam_host *h,
		       const struct str **ret);
/* "sha256=…", or digits alone, told by how many they are. */
bool pkg_opam_checksum_parse(struct str text, struct digest_value *ret);
bool pkg_opam_name_is_good(struct str name);
bool pkg_opam_version_is_good(struct str version);
/* The name of an environment variable that every shell takes for one: letters, digits and '_'. */
bool pkg_opam_env_name_is_good(struct str name);
/* A package of opam's in an environment is called "opam:NAME", which no conda package can be: true with *ret (may be NULL) its NAME. */
bool pkg_is_opam(struct str name, struct str *ret);

/* As a person asks: "dune", "dune.3.0", "dune>=3.0", "dune<4". */
int pkg_opam_spec_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e);
