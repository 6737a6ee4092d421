// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_record.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/vec.h"
#include "pkg/pkg.h"

enum { CHANGES_MAX = 10, FILE_GHOST = 1 << 6, DEPS_MAX = 1 << 18 };
enum sense {
	SENSE_LESS = 1 << 1,
	SENSE_GREATER = 1 << 2,
	SENSE_EQUAL = 1 << 3,
	SENSE_PREREQ = 1 << 6,
	SENSE_PRE = 1 << 9,
	SENSE_POST = 1 << 10,
};

/* -- text ---------------------------------------------------------------------------------------------------------- */

static bool is_utf8(struct str s)
{
	uint32_t c;
	while (s.n > 0) {
		size_t n = (unsigned char)s.p[0] < 0x80 ? 1 : utf8_take(s, &c);
		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

static const char *escaped(unsigned char c, bool attribute)
{
	switch (c) {
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '&':
		return "&amp;";
	case '\r':
		return "&#13;";
	case '"':
		return attribute ? "&quot;" : NULL;
	case '\n':
		return attribute ? "&#10;" : NULL;
	case '\t':
		return attribute ? "&#9;" : NULL;
	default:
		return c < 0x20 ? "" : NULL;
	}
}

/* The part of Latin-1 above ASCII; its control characters mean that it was something else. */
static void put_latin1(struct buf *b, unsigned char c)
{
	char utf8[4];
	if (c >= 0xc0)
		buf_put(b, utf8, utf8_put(utf8, c));
}

/* U+FFFE and U+FFFF are no characters of XML. */
static bool is_no_character(struct str s)
{
	return str_starts(s, STR("\xef\xbf\xbe")) || str_starts(s, STR("\xef\xbf\xbf"));
}

void rpm_xml_put(struct buf *b, struct str s, bool attribute)
{
	bool utf8 = is_utf8(s);
	size_t plain = 0; /* begin of what is copied as it is */
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		const char *instead = c < 0x80 ? escaped(c, attribute) : utf8 ? NULL : "";
		size_t skip = 1;
		if (c == 0xef && utf8 && is_no_character(str_skip(s, i))) {
			instead = "";
			skip = 3;
		}
		if (!instead)
			continue;
		buf_put(b, s.p + plain, i - plain);
		buf_put_c(b, instead);
		if (c >= 0x80 && !utf8)
			put_latin1(b, c);
		i += skip - 1;
		plain = i + 1;
	}
	if (s.n > plain)
		buf_put(b, s.p + plain, s.n - plain);
}

static void put_attribute(struct buf *b, const char *name, struct str value)
{
	buf_put_char(b, ' ');
	buf_put_c(b, name);
	buf_put_c(b, "=\"");
	rpm_xml_put(b, value, true);
	buf_put_char(b, '"');
}

static void put_element(struct buf *b, const char *indent, const char *name, struct str text)
{
	buf_printf(b, "%s<%s>", indent, name);
	rpm_xml_put(b, text, false);
	buf_printf(b, "</%s>\n", name);
}

/* -- what it is called --------------------------------------------------------------------------------------------- */

static bool is_word(struct str s)
{
	bool good = s.n > 0 && s.n <= 256 && s.p[0] != '.' && s.p[0] != '-';
	for (size_t i = 0; good && i < s.n; i++) {
		char c = s.p[i];
		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		       strchr("._+~^-", c);
		good = good && c != '\0';
	}
	return good;
}

int rpm_id_read(const struct rpm_header *h, const char *what, struct rpm_id *ret, struct err *e)
{
	uint64_t none;
	bool lacks_sources = rpm_tag_int(&h->main, RPM_NOSOURCE, 0, &none) ||
			     rpm_tag_int(&h->main, RPM_NOPATCH, 0, &none);
	*ret = (struct rpm_id){
		.name = rpm_tag_str(&h->main, RPM_NAME),
		.version = rpm_tag_str(&h->main, RPM_VERSION),
		.release = rpm_tag_str(&h->main, RPM_RELEASE),
		.arch = !h->is_source	? rpm_tag_str(&h->main, RPM_ARCH)
			: lacks_sources ? STR("nosrc")
					: STR("src"),
	};
	(void)rpm_tag_int(&h->main, RPM_EPOCH, 0, &ret->epoch);
	const struct {
		const char *name;
		struct str value;
	} parts[] = {
		{"name", ret->name}, {"version", ret->version}, {"release", ret->release}, {"architecture", ret->arch}};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!is_word(parts[i].value))
			return err_new(e, ERR_INPUT,
				       "'%s': its %s '%.*s' is none (letters, digits and . _ + ~ ^ - are allowed)",
				       what, parts[i].name, STR_ARG(parts[i].value));
	return 0;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

struct file {
	struct str folder, name;
	const char *type; /* "dir", "ghost" or "" */
	bool primary;	  /* one of those that clients need for dependencies most often */
};
struct files {
	struct file *v;
	uint32_t n;
};

static bool contains(struct str s, struct str what)
{
	return str_search(s, what) >= 0;
}

static bool is_primary(struct str folder, struct str name)
{
	return str_starts(folder, STR("/etc/")) || contains(folder, STR("bin/")) ||
	       (str_eq(folder, STR("/usr/lib/")) && str_eq(name, STR("sendmail")));
}

static int take_old_names(const struct rpm_tags *t, struct arena *a, struct files *ret)
{
	const struct str *names;
	ret->n = rpm_tag_strs(t, RPM_OLDFILENAMES, a, &names);
	ret->v = arena_array(a, struct file, ret->n);
	for (uint32_t i = 0; i < ret->n; i++) {
		size_t folder = (size_t)(str_rfind(names[i], '/') + 1);
		ret->v[i].folder = str_head(names[i], folder);
		ret->v[i].name = str_skip(names[i], folder);
	}
	return 0;
}

static int take_names(const struct rpm_tags *t, const char *what, struct arena *a, struct files *ret, struct err *e)
{
	const struct str *names = NULL, *folders = NULL;
	struct rpm_ints folder_of = rpm_tag_ints(t, RPM_DIRINDEXES);
	uint32_t folders_n = rpm_tag_strs(t, RPM_DIRNAMES, a, &folders);
	ret->n = rpm_tag_strs(t, RPM_BASENAMES, a, &names);
	if (ret->n == 0)
		return take_old_names(t, a, ret);
	if (folder_of.n != ret->n)
		return err_new(e, ERR_INPUT, "'%s': its list of files does not hold together", what);
	ret->v = arena_array(a, struct file, ret->n);
	for (uint32_t i = 0; i < ret->n; i++) {
		uint64_t folder = rpm_ints_get(&folder_of, i);
		if (folder >= folders_n)
			return err_new(e, ERR_INPUT, "'%s': its list of files does not hold together", what);
		ret->v[i].folder = folders[folder];
		ret->v[i].name = names[i];
	}
	return 0;
}

static int files_read(const struct rpm_tags *t, const char *what, struct arena *a, struct files *ret, struct err *e)
{
	struct rpm_ints modes = rpm_tag_ints(t, RPM_FILEMODES), flags = rpm_tag_ints(t, RPM_FILEFLAGS);
	if (take_names(t, what, a, ret, e) < 0)
		return -1;
	for (uint32_t i = 0; i < ret->n; i++) {
		struct file *f = &ret->v[i];
		bool folder = i < modes.n && S_ISDIR(rpm_ints_get(&modes, i) & 0xffff);
		bool ghost = i < flags.n && (rpm_ints_get(&flags, i) & FILE_GHOST);
		f->type = folder ? "dir" : ghost ? "ghost" : "";
		f->primary = is_primary(f->folder, f->name);
	}
	return 0;
}

static void put_files(struct buf *b, const char *indent, const struct files *files, bool primary)
{
	auto_buf whole = BUF_INIT(BUF_MAX);
	for (uint32_t i = 0; i < files->n; i++) {
		const struct file *f = &files->v[i];
		if (primary && !f->primary)
			continue;
		buf_put_c(b, indent);
		buf_put_c(b, "<file");
		if (f->type[0])
			put_attribute(b, "type", str_c(f->type));
		buf_put_char(b, '>');
		buf_clear(&whole);
		buf_put_str(&whole, f->folder);
		buf_put_str(&whole, f->name);
		rpm_xml_put(b, buf_str(&whole), false);
		buf_put_c(b, "</file>\n");
	}
}

/* -- dependencies -------------------------------------------------------------------------------------------------- */

struct dep {
	struct str name, version;
	const char *flags; /* NULL: any version */
	bool pre;
};

struct deps_writer {
	const struct rpm_tags *tags;
	const struct files *files;
	struct arena *arena;
	const char *what;    /* the file, for messages */
	struct map own;	     /* what the package provides and its primary files: asked for, it is not told */
	struct map required; /* name → place + 1 of the last of this name */
	VEC(struct dep) deps;
};

static const char *flags_text(uint64_t flags)
{
	switch (flags & (SENSE_LESS | SENSE_GREATER | SENSE_EQUAL)) {
	case SENSE_LESS:
		return "LT";
	case SENSE_GREATER:
		return "GT";
	case SENSE_EQUAL:
		return "EQ";
	case SENSE_LESS | SENSE_EQUAL:
		return "LE";
	case SENSE_GREATER | SENSE_EQUAL:
		return "GE";
	default:
		return NULL;
	}
}

static struct str whole_of(struct arena *a, const struct dep *d)
{
	const char *flags = d->flags ? d->flags : "";
	size_t n = d->name.n + strlen(flags) + d->version.n;
	char *p = arena_alloc(a, n + 1);
	memcpy(p, d->name.p, d->name.n);
	memcpy(p + d->name.n, flags, strlen(flags));
	if (d->version.n)
		memcpy(p + n - d->version.n, d->version.p, d->version.n);
	return str_of(p, n);
}

/* A version whose epoch is no number means nothing to a client. */
static bool is_readable(const struct dep *d)
{
	struct pkg_rpm_evr v = pkg_rpm_evr_parse(d->version);
	return str_find(v.version, ':') < 0;
}

static void put_dep(struct buf *b, const struct dep *d)
{
	struct pkg_rpm_evr v = pkg_rpm_evr_parse(d->version);
	if (d->name.n == 0)
		return;
	buf_put_c(b, "      <rpm:entry");
	put_attribute(b, "name", d->name);
	if (d->flags) {
		put_attribute(b, "flags", str_c(d->flags));
		if (d->version.n)
			put_attribute(b, "epoch", v.epoch.n ? v.epoch : STR("0"));
		if (v.version.n)
			put_attribute(b, "ver", v.version);
		if (v.release.n)
			put_attribute(b, "rel", v.release);
	}
	buf_put_c(b, d->pre ? " pre=\"1\"/>\n" : "/>\n");
}

static bool dep_eq(const struct dep *x, const struct dep *y)
{
	return str_eq(x->name, y->name) && str_eq(x->version, y->version) && x->flags == y->flags && x->pre == y->pre;
}

/* The version between the parentheses of "libc.so.6(GLIBC_2.4)(64bit)"; empty where there is none. */
static struct str libc_version(struct str name)
{
	struct str before, version = STR_NONE;
	if (!str_take_until(&name, '(', &before) || !str_take_until(&name, ')', &version))
		return STR_NONE;
	while (version.n > 0 && (version.p[0] < '0' || version.p[0] > '9'))
		version = str_skip(version, 1);
	return version;
}

/* Of the versions of libc's symbols the newest tells all. It is what `libc` points to. */
static void take_libc(const struct dep **libc, const struct dep *d)
{
	if (!*libc || pkg_rpm_vercmp(libc_version((*libc)->name), libc_version(d->name)) < 0)
		*libc = d;
}

static bool is_told(struct deps_writer *w, const struct dep *d)
{
	const uint64_t *last = map_get(&w->required, d->name);
	return str_starts(d->name, STR("rpmlib(")) || map_get(&w->own, whole_of(w->arena, d)) ||
	       (str_starts(d->name, STR("/")) && map_get(&w->own, d->name)) ||
	       (last && dep_eq(&w->deps.v[*last - 1], d));
}

/* Those of one kind that are worth telling, in order. */
static int read_deps(struct deps_writer *w, enum rpm_tag name, enum rpm_tag version, enum rpm_tag flags, struct err *e)
{
	const struct str *names = NULL, *versions = NULL;
	struct rpm_ints senses = rpm_tag_ints(w->tags, flags);
	uint32_t n = rpm_tag_strs(w->tags, name, w->arena, &names);
	uint32_t versions_n = rpm_tag_strs(w->tags, version, w->arena, &versions);
	const struct dep *libc = NULL;
	bool required = name == RPM_REQUIRENAME;
	vec_clear(&w->deps);
	if (n > DEPS_MAX)
		return err_new(e, ERR_LIMIT, "'%s': tag %d has %u dependencies: more than %d", w->what, (int)name, n,
			       DEPS_MAX);
	if (versions_n < n || senses.n < n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t sense = rpm_ints_get(&senses, i);
		struct dep *d = arena_new(w->arena, struct dep);
		*d = (struct dep){names[i], versions[i], flags_text(sense),
				  required && (sense & (SENSE_PREREQ | SENSE_PRE | SENSE_POST))};
		if (!is_readable(d) || (required && is_told(w, d)))
			continue;
		if (required && str_starts(d->name, STR("libc.so.6"))) {
			take_libc(&libc, d);
			continue;
		}
		vec_push(&w->deps, *d);
		if (required)
			*map_put(&w->required, d->name) = w->deps.n;
		if (name == RPM_PROVIDENAME)
			*map_put(&w->own, whole_of(w->arena, d)) = 1;
	}
	if (libc)
		vec_push(&w->deps, *libc);
	return 0;
}

static int put_deps(struct deps_writer *w, struct buf *b, struct err *e)
{
	static const struct {
		const char *name;
		enum rpm_tag tag, version, flags;
	} kinds[] = {
		{"provides", RPM_PROVIDENAME, RPM_PROVIDEVERSION, RPM_PROVIDEFLAGS},
		{"requires", RPM_REQUIRENAME, RPM_REQUIREVERSION, RPM_REQUIREFLAGS},
		{"conflicts", RPM_CONFLICTNAME, RPM_CONFLICTVERSION, RPM_CONFLICTFLAGS},
		{"obsoletes", RPM_OBSOLETENAME, RPM_OBSOLETEVERSION, RPM_OBSOLETEFLAGS},
		{"suggests", RPM_SUGGESTNAME, RPM_SUGGESTNAME + 1, RPM_SUGGESTNAME + 2},
		{"enhances", RPM_ENHANCENAME, RPM_ENHANCENAME + 1, RPM_ENHANCENAME + 2},
		{"recommends", RPM_RECOMMENDNAME, RPM_RECOMMENDNAME + 1, RPM_RECOMMENDNAME + 2},
		{"supplements", RPM_SUPPLEMENTNAME, RPM_SUPPLEMENTNAME + 1, RPM_SUPPLEMENTNAME + 2},
	};
	for (uint32_t i = 0; i < w->files->n; i++) {
		const struct file *f = &w->files->v[i];
		if (f->primary)
			*map_put(&w->own, str_c(arena_printf(w->arena, "%.*s%.*s", (int)f->folder.n, f->folder.p,
							     (int)f->name.n, f->name.p))) = 1;
	}
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		if (read_deps(w, kinds[k].tag, kinds[k].version, kinds[k].flags, e) < 0)
			return -1;
		if (w->deps.n == 0)
			continue;
		buf_printf(b, "    <rpm:%s>\n", kinds[k].name);
		vec_foreach(d, &w->deps)
			put_dep(b, d);
		buf_printf(b, "    </rpm:%s>\n", kinds[k].name);
	}
	return 0;
}

static void deps_writer_release(struct deps_writer *w)
{
	map_release(&w->own);
	map_release(&w->required);
	vec_release(&w->deps);
}

/* -- the three records --------------------------------------------------------------------------------------------- */

static void put_version(struct buf *b, const struct rpm_id *id)
{
	buf_printf(b, "  <version epoch=\"%" PRIu64 "\"", id->epoch);
	put_attribute(b, "ver", id->version);
	put_attribute(b, "rel", id->release);
	buf_put_c(b, "/>\n");
}

static uint64_t first_of(const struct rpm_tags *a, enum rpm_tag x, const struct rpm_tags *b, enum rpm_tag y)
{
	uint64_t v = 0;
	return rpm_tag_int(a, x, 0, &v) || rpm_tag_int(b, y, 0, &v) ? v : 0;
}

static void put_sizes(struct buf *b, const struct rpm_header *h, const struct rpm_facts *f)
{
	uint64_t built = first_of(&h->main, RPM_BUILDTIME, &h->main, RPM_BUILDTIME);
	uint64_t installed = first_of(&h->main, RPM_LONGSIZE, &h->main, RPM_SIZE);
	uint64_t archive = 0;
	if (!rpm_tag_int(&h->sig, RPM_SIG_LONGARCHIVESIZE, 0, &archive))
		archive = first_of(&h->sig, RPM_SIG_PAYLOADSIZE, &h->main, RPM_ARCHIVESIZE);
	buf_printf(b, "  <time file=\"%" PRId64 "\" build=\"%" PRIu64 "\"/>\n", f->mtime_s, built);
	buf_printf(b, "  <size package=\"%" PRIu64 "\" installed=\"%" PRIu64 "\" archive=\"%" PRIu64 "\"/>\n", f->size,
		   installed, archive);
	buf_put_c(b, "  <location");
	put_attribute(b, "href", f->href);
	buf_put_c(b, "/>\n");
}

static int put_primary(struct buf *b, const struct rpm_header *h, const struct rpm_id *id, const struct rpm_facts *f,
		       const struct files *files, const char *what, struct arena *a, struct err *e)
{
	cleanup_with(deps_writer_release) struct deps_writer w = {
		.tags = &h->main, .files = files, .arena = a, .what = what};
	const struct rpm_tags *t = &h->main;
	buf_put_c(b, "<package type=\"rpm\">\n");
	put_element(b, "  ", "name", id->name);
	put_element(b, "  ", "arch", h->is_source ? STR("src") : id->arch);
	put_version(b, id);
	buf_printf(b, "  <checksum type=\"sha256\" pkgid=\"YES\">%.*s</checksum>\n", STR_ARG(f->sha256_hex));
	put_element(b, "  ", "summary", rpm_tag_str(t, RPM_SUMMARY));
	put_element(b, "  ", "description", rpm_tag_str(t, RPM_DESCRIPTION));
	put_element(b, "  ", "packager", rpm_tag_str(t, RPM_PACKAGER));
	put_element(b, "  ", "url", rpm_tag_str(t, RPM_URL));
	put_sizes(b, h, f);
	buf_put_c(b, "  <format>\n");
	put_element(b, "    ", "rpm:license", rpm_tag_str(t, RPM_LICENSE));
	put_element(b, "    ", "rpm:vendor", rpm_tag_str(t, RPM_VENDOR));
	put_element(b, "    ", "rpm:group", rpm_tag_str(t, RPM_GROUP));
	put_element(b, "    ", "rpm:buildhost", rpm_tag_str(t, RPM_BUILDHOST));
	put_element(b, "    ", "rpm:sourcerpm", rpm_tag_str(t, RPM_SOURCERPM));
	buf_printf(b, "    <rpm:header-range start=\"%" PRIu64 "\" end=\"%" PRIu64 "\"/>\n", h->start, h->end);
	if (put_deps(&w, b, e) < 0)
		return -1;
	put_files(b, "    ", files, true);
	buf_put_c(b, "  </format>\n</package>\n");
	return 0;
}

static void put_list_head(struct buf *b, const struct rpm_header *h, const struct rpm_id *id, const struct rpm_facts *f)
{
	buf_put_c(b, "<package");
	put_attribute(b, "pkgid", f->sha256_hex);
	put_attribute(b, "name", id->name);
	put_attribute(b, "arch", h->is_source ? STR("src") : id->arch);
	buf_put_c(b, ">\n");
	put_version(b, id);
}

/* Clients sort changes by their dates: of those with one date each gets a second more than the one before it. */
static void spread_dates(uint64_t *date, uint32_t n)
{
	uint64_t last = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t t = date[i];
		for (uint32_t k = i; t == last && k > 0 && date[k - 1] == date[i] + (i - k); k--)
			date[k - 1]++;
		last = t;
	}
}

/* The newest of them, the oldest first. */
static void put_changes(struct buf *b, const struct rpm_tags *t, struct arena *a)
{
	const struct str *authors = NULL, *texts = NULL;
	uint64_t date[CHANGES_MAX];
	struct rpm_ints dates = rpm_tag_ints(t, RPM_CHANGELOGTIME);
	uint32_t n = rpm_tag_strs(t, RPM_CHANGELOGTEXT, a, &texts),
		 authors_n = rpm_tag_strs(t, RPM_CHANGELOGNAME, a, &authors);
	n = n > CHANGES_MAX ? CHANGES_MAX : n;
	if (dates.n < n || authors_n < n)
		return;
	for (uint32_t i = 0; i < n; i++)
		date[i] = rpm_ints_get(&dates, i);
	spread_dates(date, n);
	for (uint32_t i = n; i-- > 0;) {
		struct str author = authors[i];
		while (author.n > 1 && author.p[author.n - 1] == ' ')
			author.n--;
		buf_put_c(b, "  <changelog");
		put_attribute(b, "author", author);
		buf_printf(b, " date=\"%" PRIu64 "\">", date[i]);
		rpm_xml_put(b, texts[i], false);
		buf_put_c(b, "</changelog>\n");
	}
}

int rpm_record_write(const struct rpm_header *h, const struct rpm_id *id, const struct rpm_facts *f, const char *what,
		     struct rpm_texts *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct files files = {0};
	if (files_read(&h->main, what, &a, &files, e) < 0)
		return -1;
	if (put_primary(&ret->primary, h, id, f, &files, what, &a, e) < 0)
		return -1;
	put_list_head(&ret->filelists, h, id, f);
	put_files(&ret->filelists, "  ", &files, false);
	buf_put_c(&ret->filelists, "</package>\n");
	put_list_head(&ret->other, h, id, f);
	put_changes(&ret->other, &h->main, &a);
	buf_put_c(&ret->other, "</package>\n");
	if (ret->primary.overflow || ret->filelists.overflow || ret->other.overflow)
		return err_new(e, ERR_LIMIT, "'%s': its record would exceed %zu MiB", what, ret->primary.max >> 20);
	return 0;
}
