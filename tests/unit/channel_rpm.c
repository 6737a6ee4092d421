// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/compress.h"
#include "base/fs.h"
#include "channel/channel.h"
#include "channel/rpm_header.h"
#include "channel/rpm_record.h"
#include "channel/rpm_repo.h"
#include "lib/rpm.h"

static struct err e;

static const struct channel_kind *rpm_kind(void)
{
	const struct channel_kind *k = channel_kind(STR("rpm"));
	CHECK(k);
	return k;
}

static const char *in_tmp(const char *path)
{
	static char whole[4][512];
	static unsigned next;
	char *p = whole[next++ % 4];
	(void)mkdir(test_tmp(), 0700);
	snprintf(p, 512, "%s/%s", test_tmp(), path);
	return p;
}

static void put(const char *path, struct str s)
{
	char folder[512];
	snprintf(folder, sizeof(folder), "%s", in_tmp(path));
	*strrchr(folder, '/') = '\0';
	CHECK_MSG(fs_mkdirs(AT_FDCWD, folder, 0755, &e) == 0, "%s", e.msg);
	CHECK_MSG(fs_replace(AT_FDCWD, in_tmp(path), s.p, s.n, 0, &e) == 0, "%s", e.msg);
}

TEST(files_of_an_rpm_channel)
{
	const struct channel_kind *k = rpm_kind();
	CHECK_INT(channel_kind_file(k, STR("repodata/repomd.xml")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("repodata/repomd.xml.asc")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("repodata/repomd.xml.key")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("repodata/00ff-primary.xml.gz")), CHANNEL_FILE_NAMED);
	CHECK_INT(channel_kind_file(k, STR("repodata/comps.xml")), CHANNEL_FILE_NAMED);
	CHECK_INT(channel_kind_file(k, STR("repodata/a/b")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("repodata/.hidden")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("a-1-1.noarch.rpm")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("Packages/a/a-1-1.noarch.rpm")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("x.exe")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR(".slipway.lock")), CHANNEL_FILE_NONE);
	CHECK_STR(channel_kind_type(k, STR("a.rpm")), "application/x-rpm");
}

/* -- headers ------------------------------------------------------------------------------------------------------- */

/* 0 where the bytes are read as a package, and its record can be written. */
static int read_package(struct str bytes)
{
	auto_arena a = ARENA_INIT;
	struct rpm_header h = {0};
	struct rpm_id id;
	struct rpm_texts texts = {BUF_INIT(1 << 20), BUF_INIT(1 << 20), BUF_INIT(1 << 20)};
	static const struct rpm_facts facts = {.sha256_hex = {"00", 2}, .href = {"a.rpm", 5}};
	put("p.rpm", bytes);
	auto_fd fd = open(in_tmp("p.rpm"), O_RDONLY | O_CLOEXEC);
	e = ERR_INIT;
	int rc = rpm_header_read(fd, "p.rpm", &a, &h, &e) < 0 || rpm_id_read(&h, "p.rpm", &id, &e) < 0 ||
				 rpm_record_write(&h, &id, &facts, "p.rpm", &texts, &e) < 0
			 ? -1
			 : 0;
	CHECK(rc == 0 || e.msg[0]);
	buf_release(&texts.primary);
	buf_release(&texts.filelists);
	buf_release(&texts.other);
	return rc;
}

TEST(a_package_that_is_cut_off)
{
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	rpm_made_named(&r, "name", "1", "noarch");
	rpm_made_put(&file, &r, STR(""));
	CHECK_MSG(read_package(buf_str(&file)) == 0, "%s", e.msg);
	for (size_t n = 0; n < file.n; n++)
		CHECK_MSG(read_package(str_head(buf_str(&file), n)) == -1, "%zu bytes are a package", n);
	rpm_made_release(&r);
}

TEST(flipped_bytes_do_no_harm)
{
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	rpm_made_named(&r, "name", "1", "noarch");
	rpm_made_texts(&r, 1117, STR("a\0b\0"), 2);
	rpm_made_texts(&r, 1118, STR("/etc/\0"), 1);
	rpm_made_texts(&r, 1047, STR("p\0q\0"), 2);
	rpm_made_put(&file, &r, STR(""));
	for (size_t i = 0; i < file.n; i++)
		for (unsigned bit = 0; bit < 8; bit += 7) {
			file.p[i] = (char)(file.p[i] ^ (1 << bit));
			(void)read_package(buf_str(&file));
			file.p[i] = (char)(file.p[i] ^ (1 << bit));
		}
	rpm_made_release(&r);
}

TEST(headers_that_lie_about_their_size)
{
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	rpm_made_named(&r, "name", "1", "noarch");
	rpm_made_put(&file, &r, STR(""));
	memcpy(file.p + 96 + 8, "\x7f\xff\xff\xff", 4); /* tags of the signature */
	CHECK_INT(read_package(buf_str(&file)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	memcpy(file.p + 96 + 8, "\0\0\0\0\x0f\xff\xff\xff", 8);
	CHECK_INT(read_package(buf_str(&file)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	rpm_made_release(&r);
}

static int read_with(void (*more)(struct rpm_made *r))
{
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	rpm_made_named(&r, "name", "1", "noarch");
	more(&r);
	rpm_made_put(&file, &r, STR(""));
	int rc = read_package(buf_str(&file));
	rpm_made_release(&r);
	return rc;
}

static void name_twice(struct rpm_made *r)
{
	rpm_made_text(r, 1000, "other");
}

static void outside(struct rpm_made *r)
{
	rpm_made_text(r, 1004, "summary");
	memset(r->index.p + r->index.n - 8, 0x7f, 4);
}

static void folder_outside(struct rpm_made *r)
{
	rpm_made_texts(r, 1117, STR("a\0"), 1);
	rpm_made_texts(r, 1118, STR("/etc/\0"), 1);
	rpm_made_u32(r, 1116, 1);
}

static void many_texts(struct rpm_made *r)
{
	rpm_made_texts(r, 1049, STR("a\0"), 0xffffffff);
}

static void fewer_texts(struct rpm_made *r)
{
	rpm_made_texts(r, 1049, STR("a\0"), 2);
}

static void many_deps(struct rpm_made *r)
{
	rpm_made_texts(r, 1049, STR(""), 300000);
	for (int i = 0; i < 300000; i++)
		buf_put(&r->store, "a", 2);
}

TEST(tags_that_do_not_hold_together)
{
	CHECK_INT(read_with(name_twice), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(read_with(outside), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(read_with(folder_outside), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(read_with(many_texts), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(read_with(many_deps), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_MSG(read_with(fewer_texts) == 0, "%s", e.msg); /* as if the tag were not there */
}

TEST(names_that_lead_elsewhere)
{
	static const char *const names[] = {"../../etc", "a/b", "", ".a", "a b", "a<b", "a\nb", "a%2f"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct rpm_made r = {0};
		auto_buf file = BUF_INIT(BUF_MAX);
		rpm_made_named(&r, names[i], "1", "noarch");
		rpm_made_put(&file, &r, STR(""));
		CHECK_MSG(read_package(buf_str(&file)) == -1 && e.code == ERR_INPUT, "'%s' is taken", names[i]);
		rpm_made_release(&r);
	}
}

TEST(text_that_xml_cannot_hold)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	rpm_xml_put(&b, STR("a<b>&\"'\n\t\x01\x0c"), true);
	CHECK_STR(b.p, "a&lt;b&gt;&amp;&quot;'&#10;&#9;");
	buf_clear(&b);
	rpm_xml_put(&b, STR("a\"\n\t\r\x1f\xc3\xa4\xef\xbf\xbf."), false);
	CHECK_STR(b.p, "a\"\n\t&#13;\xc3\xa4.");
	buf_clear(&b);
	rpm_xml_put(&b, STR("caf\xe9 \x80<"), false); /* Latin-1 */
	CHECK_STR(b.p, "caf\xc3\xa9 &lt;");
}

/* -- XML ----------------------------------------------------------------------------------------------------------- */

static int count_package(void *ctx, const struct rpm_package *p, struct err *err)
{
	int *n = ctx;
	(void)err;
	CHECK(str_starts(p->raw, STR("<package")) && str_ends(p->raw, STR("</package>")));
	++*n;
	return 0;
}

static int read_primary(struct str text)
{
	int n = 0;
	auto_ptr(istream) in = istream_mem(text, "primary");
	e = ERR_INIT;
	return rpm_primary_read(in, NULL, count_package, &n, &e) < 0 ? -1 : n;
}

#define PACKAGE(location)                                                                                                \
	"<package type=\"rpm\"><name>a</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" rel=\"1\"/>"              \
	"<checksum type=\"sha512\" pkgid=\"YES\">"                                                                       \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" \
	"000000000000000000</checksum>" location "</package>"
#define LOCATION "<location href=\"a.rpm\"/>"

TEST(primary_is_read)
{
	CHECK_MSG(read_primary(STR("<metadata>" PACKAGE(LOCATION) "\n" PACKAGE(LOCATION) "</metadata>")) == 2, "%s",
		  e.msg);
	CHECK_INT(read_primary(STR("<metadata/>")), 0);
	CHECK_INT(read_primary(STR("<metadata><package type=\"other\"/></metadata>")), 0);
}

TEST(documents_that_are_refused)
{
	static const struct {
		const char *text;
		enum err_code code;
	} bad[] = {
		{"", ERR_INPUT},
		{"<metadata>", ERR_INPUT},
		{"<metadata></other>", ERR_INPUT},
		{"<other/>", ERR_INPUT},
		{"<!DOCTYPE metadata [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><metadata>&b;</metadata>",
		 ERR_INPUT},
		{"<!DOCTYPE metadata SYSTEM \"file:///etc/passwd\"><metadata/>", ERR_INPUT},
		{"<metadata>&none;</metadata>", ERR_INPUT},
		{"<metadata><package type=\"rpm\"/></metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\"../a.rpm\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\"/a.rpm\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\"a//b.rpm\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\"a.sh\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\".slipway.new/a.rpm\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location href=\"repodata/a.rpm\"/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location/>") "</metadata>", ERR_INPUT},
		{"<metadata>" PACKAGE("<location xml:base=\"file:///etc\" href=\"a.rpm\"/>") "</metadata>", ERR_INPUT},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_MSG(read_primary(str_c(bad[i].text)) == -1, "taken: %s", bad[i].text);
		CHECK_MSG(e.code == bad[i].code && e.msg[0], "%s: %s", bad[i].text, e.msg);
	}
}

TEST(documents_that_do_not_end)
{
	auto_buf deep = BUF_INIT(BUF_MAX), tag = BUF_INIT(BUF_MAX), text = BUF_INIT(BUF_MAX),
		 record = BUF_INIT(BUF_MAX);
	for (int i = 0; i < 100; i++)
		buf_put_c(&deep, "<metadata>");
	CHECK_INT(read_primary(buf_str(&deep)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	buf_put_c(&tag, "<metadata><package a=\"");
	buf_put_c(&text, "<metadata><package type=\"rpm\"><name>");
	buf_put_c(&record, "<metadata><package type=\"rpm\">");
	while (tag.n < RPM_XML_TOKEN_MAX + (1 << 18))
		buf_put_c(&tag, "aaaaaaaaaaaaaaaa");
	CHECK_INT(read_primary(buf_str(&tag)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	while (text.n < RPM_XML_TEXT_MAX * 2)
		buf_put_c(&text, "aaaaaaaaaaaaaaaa");
	CHECK_INT(read_primary(buf_str(&text)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	while (record.n < RPM_XML_RECORD_MAX + (1 << 18))
		buf_put_c(&record, "<file>/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p</file>");
	CHECK_INT(read_primary(buf_str(&record)), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

/* -- publishing ---------------------------------------------------------------------------------------------------- */

static const char *make_package(const char *name, const char *version, const char *payload)
{
	static char path[4][256];
	static unsigned next;
	char *p = path[next++ % 4];
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	snprintf(p, 256, "in/%s-%s.rpm", name, version);
	rpm_made_named(&r, name, version, "noarch");
	rpm_made_put(&file, &r, str_c(payload));
	rpm_made_release(&r);
	put(p, buf_str(&file));
	snprintf(p, 256, "%s/in/%s-%s.rpm", test_tmp(), name, version);
	return p;
}

static int publish(const char *folder, const char *file, const struct channel_make_opts *o)
{
	static const struct channel_make_opts none = {0};
	e = ERR_INIT;
	return channel_kind_publish(rpm_kind(), in_tmp(folder), &file, file ? 1 : 0, o ? o : &none, NULL, &e);
}

static int list_item(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)err;
	if (i->what == CHANNEL_FILE_PACKAGE)
		buf_printf(ctx, "%.*s ", STR_ARG(i->path));
	return 0;
}

/* The packages that a folder lists. */
static const char *listed(const char *folder, const struct channel_walk_opts *o)
{
	static char text[4096];
	static const struct channel_walk_opts all = {.sources = true};
	auto_ptr(channel_walk) w = NULL;
	auto_buf b = BUF_INIT(sizeof(text) - 1);
	auto_fd dir = open(in_tmp(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = channel_walk_new(rpm_kind(), dir, o ? o : &all, &w, &e);
	while (rc >= 0 && (rc = channel_walk_next(w, list_item, &b, &e)) > 0)
		;
	CHECK_MSG(rc == 0, "%s", e.msg);
	memcpy(text, b.p, b.n + 1);
	return text;
}

static struct str repomd(const char *folder)
{
	static struct arena kept;
	auto_buf b = BUF_INIT(BUF_MAX);
	char path[256];
	snprintf(path, sizeof(path), "%s/repodata/repomd.xml", folder);
	CHECK_MSG(fs_read(AT_FDCWD, in_tmp(path), &b, &e) == 0, "%s", e.msg);
	return arena_str(&kept, buf_str(&b));
}

TEST(an_empty_channel)
{
	CHECK_MSG(publish("c", NULL, NULL) == 0, "%s", e.msg);
	CHECK_STR(listed("c", NULL), "");
	CHECK_INT(mkdir(in_tmp("c/Packages"), 0755), 0); /* deb has a file of this name */
	auto_fd dir = open(in_tmp("c"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(channel_kind_of(dir) == rpm_kind());
}

TEST(one_after_the_other)
{
	struct channel_make_opts early = {.now_ms = 1000000}, late = {.now_ms = 9000000};
	CHECK_MSG(publish("c", make_package("b", "1", ""), &early) == 0, "%s", e.msg);
	CHECK_STR(listed("c", NULL), "Packages/b-1-1.noarch.rpm ");
	CHECK_MSG(publish("c", make_package("a", "1", ""), &early) == 0, "%s", e.msg);
	CHECK_MSG(publish("c", make_package("c", "1", ""), &early) == 0, "%s", e.msg);
	CHECK_STR(listed("c", NULL), "Packages/a-1-1.noarch.rpm Packages/b-1-1.noarch.rpm Packages/c-1-1.noarch.rpm ");
	/* the same again changes nothing */
	struct str before = repomd("c");
	CHECK(str_search(before, STR("<revision>1002</revision>")) > 0);
	CHECK_MSG(publish("c", make_package("b", "1", ""), &late) == 0, "%s", e.msg);
	CHECK(str_eq(repomd("c"), before));
}

TEST(the_order_does_not_matter)
{
	struct channel_make_opts o = {.now_ms = 1000000};
	const char *one[2] = {make_package("a", "1", ""), make_package("b", "1", "")};
	const char *other[2] = {one[1], one[0]};
	CHECK_MSG(channel_kind_publish(rpm_kind(), in_tmp("c"), one, 2, &o, NULL, &e) == 0, "%s", e.msg);
	CHECK_MSG(channel_kind_publish(rpm_kind(), in_tmp("d"), other, 2, &o, NULL, &e) == 0, "%s", e.msg);
	CHECK(str_eq(repomd("c"), repomd("d")));
}

TEST(another_content_of_the_same_name)
{
	struct channel_make_opts replace = {.replace = true};
	CHECK_MSG(publish("c", make_package("a", "1", "x"), NULL) == 0, "%s", e.msg);
	struct str before = repomd("c");
	CHECK_INT(publish("c", make_package("a", "1", "y"), NULL), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK(str_eq(repomd("c"), before));
	CHECK_MSG(publish("c", make_package("a", "1", "y"), &replace) == 0, "%s", e.msg);
	CHECK_STR(listed("c", NULL), "Packages/a-1-1.noarch.rpm ");
	CHECK(!str_eq(repomd("c"), before));
}

TEST(metadata_of_before_stay_for_a_while)
{
	struct fs_list l = {0};
	for (int i = 0; i < 3; i++) {
		char version[2] = {(char)('1' + i), '\0'};
		CHECK_MSG(publish("c", make_package("a", version, ""), NULL) == 0, "%s", e.msg);
	}
	CHECK_INT(fs_list(AT_FDCWD, in_tmp("c/repodata"), 100, &l, &e), 0);
	CHECK_INT(l.n, 10);
	for (size_t i = 0; i < l.n; i++) {
		char path[256];
		static const struct timespec old[2] = {{1000, 0}, {1000, 0}};
		snprintf(path, sizeof(path), "c/repodata/%s", l.name[i]);
		CHECK_INT(utimensat(AT_FDCWD, in_tmp(path), old, 0), 0);
	}
	fs_list_release(&l);
	CHECK_MSG(publish("c", make_package("a", "4", ""), NULL) == 0, "%s", e.msg);
	CHECK_INT(fs_list(AT_FDCWD, in_tmp("c/repodata"), 100, &l, &e), 0);
	CHECK_INT(l.n, 7); /* those of now, and of just before */
	fs_list_release(&l);
}

TEST(a_dry_run_writes_nothing)
{
	struct channel_make_opts dry = {.dry_run = true};
	CHECK_MSG(publish("c", make_package("a", "1", ""), &dry) == 0, "%s", e.msg);
	CHECK(!fs_exists(AT_FDCWD, in_tmp("c")));
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	struct str before = repomd("c");
	CHECK_MSG(publish("c", make_package("b", "1", ""), &dry) == 0, "%s", e.msg);
	CHECK(str_eq(repomd("c"), before));
	CHECK_INT(publish("c", make_package("a", "1", "other"), &dry), -1);
	CHECK_INT(e.code, ERR_EXISTS);
}

TEST(a_signed_channel_stays_signed)
{
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	put("c/repodata/repomd.xml.asc", STR("signature"));
	CHECK_INT(publish("c", make_package("b", "1", ""), NULL), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

TEST(groups_are_published)
{
	put("comps.xml", STR("<!DOCTYPE comps PUBLIC \"a\" \"b\"><comps/>"));
	CHECK_MSG(publish("c", in_tmp("comps.xml"), NULL) == 0, "%s", e.msg);
	CHECK(str_search(repomd("c"), STR("<data type=\"group\">")) > 0);
	put("comps.xml", STR("<comps>"));
	CHECK_INT(publish("c", in_tmp("comps.xml"), NULL), -1);
	CHECK_INT(e.code, ERR_INPUT);
	put("comps.xml", STR("<!DOCTYPE comps [<!ENTITY a \"b\">]><comps>&a;</comps>"));
	CHECK_INT(publish("c", in_tmp("comps.xml"), NULL), -1);
	CHECK_INT(e.code, ERR_INPUT);
	/* packages come and go, groups stay */
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK(str_search(repomd("c"), STR("<data type=\"group\">")) > 0);
}

TEST(taking_packages_out)
{
	struct channel_make_opts o = {0};
	struct str a = STR("Packages/a-1-1.noarch.rpm"), b = STR("Packages/b-1-1.noarch.rpm");
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_MSG(publish("c", make_package("b", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_MSG(channel_kind_remove(rpm_kind(), in_tmp("c"), &a, 1, CHANNEL_YANK, STR("bad"), &o, &e) == 0, "%s",
		  e.msg);
	CHECK_STR(listed("c", NULL), "Packages/b-1-1.noarch.rpm ");
	CHECK(fs_exists(AT_FDCWD, in_tmp("c/Packages/a-1-1.noarch.rpm")));
	CHECK_INT(channel_kind_remove(rpm_kind(), in_tmp("c"), &a, 1, CHANNEL_YANK, STR_NONE, &o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(channel_kind_remove(rpm_kind(), in_tmp("c"), &b, 1, CHANNEL_DROP, STR_NONE, &o, &e) == 0, "%s",
		  e.msg);
	CHECK_STR(listed("c", NULL), "");
	CHECK(!fs_exists(AT_FDCWD, in_tmp("c/Packages/b-1-1.noarch.rpm")));
	/* what was taken out comes back only when it is published again */
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_STR(listed("c", NULL), "Packages/a-1-1.noarch.rpm ");
}

TEST(a_part_of_another_channel)
{
	struct channel_make_opts o = {0};
	struct str names[] = {STR("b*")};
	struct channel_walk_opts from = {.names = names, .names_n = 1};
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_MSG(publish("c", make_package("b", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_MSG(publish("c", make_package("bc", "1", ""), NULL) == 0, "%s", e.msg);
	auto_fd dir = open(in_tmp("c"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_MSG(channel_kind_rewrite(rpm_kind(), dir, &from, in_tmp("d"), &o, NULL, NULL, &e) == 0, "%s", e.msg);
	CHECK_STR(listed("d", NULL), "Packages/b-1-1.noarch.rpm Packages/bc-1-1.noarch.rpm ");
	CHECK_STR(listed("c", &from), "Packages/b-1-1.noarch.rpm Packages/bc-1-1.noarch.rpm ");
}

/* -- metadata of others -------------------------------------------------------------------------------------------- */

struct form {
	enum compress_kind packed;
	const char *kind; /* of digest */
	enum digest_kind digest;
};

/* Puts one file of metadata into the folder and its element into repomd. */
static void put_data(const char *folder, const char *type, const char *xml, const struct form *f, struct buf *repomd)
{
	char path[256], hex[2 * DIGEST_MAX + 1];
	uint8_t out[DIGEST_MAX];
	auto_buf packed = BUF_INIT(BUF_MAX);
	auto_ptr(digest) d = digest_new(f->digest);
	CHECK_INT(compress_str(f->packed, 0, str_c(xml), &packed, &e), 0);
	digest_update(d, packed.p, packed.n);
	hex_encode(out, digest_final(d, out), hex);
	snprintf(path, sizeof(path), "%s/repodata/%s.xml%s", folder, type, compress_ending(f->packed));
	put(path, buf_str(&packed));
	buf_printf(
		repomd,
		"<data type=\"%s\"><checksum type=\"%s\">%s</checksum><location href=\"%s\"/><size>%zu</size></data>",
		type, f->kind, hex, path + strlen(folder) + 1, packed.n);
}

#define OTHER_PACKAGE(name, more)                                                                                      \
	"<package type=\"rpm\"><name>" name "</name><arch>x86_64</arch><version ver=\"1\" rel=\"1\"/>"                 \
	"<checksum type=\"sha\" pkgid=\"YES\">" name "00000000000000000000000000000000000000</checksum>"               \
	"<description>&lt;location xml:base=\"no\" </description><location " more " href=\"" name                      \
	".rpm\"/><format suse:x=\"1\"/></package>"
#define LISTED_PACKAGE(name)                                                                                           \
	"<package pkgid=\"" name "00000000000000000000000000000000000000\" name=\"" name                               \
	"\" arch=\"x86_64\"><file/></package>"

static void put_other(const char *folder, const struct form *f)
{
	auto_buf repomd = BUF_INIT(BUF_MAX);
	char path[256];
	buf_put_c(&repomd, "<repomd><revision>7</revision><tags><content>x</content></tags>");
	put_data(folder, "primary",
		 "<metadata packages=\"2\" xmlns:suse=\"urn:x\">" OTHER_PACKAGE("aa", "")
			 OTHER_PACKAGE("bb", "xml:base='https://elsewhere/x>y'") "</metadata>",
		 f, &repomd);
	put_data(folder, "filelists", "<filelists>" LISTED_PACKAGE("bb") LISTED_PACKAGE("aa") "</filelists>", f,
		 &repomd);
	put_data(folder, "other", "<otherdata>" LISTED_PACKAGE("aa") LISTED_PACKAGE("bb") "</otherdata>", f, &repomd);
	put_data(folder, "modules", "---", f, &repomd);
	put_data(folder, "primary_db", "SQLite", f, &repomd);
	buf_put_c(&repomd, "</repomd>");
	snprintf(path, sizeof(path), "%s/repodata/repomd.xml", folder);
	put(path, buf_str(&repomd));
}

TEST(metadata_in_every_form)
{
	static const struct form forms[] = {
		{COMPRESS_NONE, "sha256", DIGEST_SHA256},
		{COMPRESS_GZIP, "sha512", DIGEST_SHA512},
		{COMPRESS_XZ, "sha", DIGEST_SHA1},
		{COMPRESS_ZSTD, "sha1", DIGEST_SHA1},
	};
	struct str arch = STR("aarch64");
	struct channel_walk_opts other = {.platforms = &arch, .platforms_n = 1};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		put_other("u", &forms[i]);
		CHECK_STR(listed("u", NULL), "aa.rpm bb.rpm ");
		CHECK_STR(listed("u", &other), "");
	}
}

static int keep_all_but(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)err;
	return !str_eq_c(i->name, ctx);
}

TEST(a_part_of_what_others_made)
{
	static const struct form f = {COMPRESS_ZSTD, "sha512", DIGEST_SHA512};
	struct channel_make_opts o = {0};
	struct channel_walk_opts all = {0}, signed_by = {.keyring = "/none"};
	auto_arena a = ARENA_INIT;
	struct rpm_repomd r;
	put_other("u", &f);
	auto_fd dir = open(in_tmp("u"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(channel_kind_rewrite(rpm_kind(), dir, &signed_by, in_tmp("d"), &o, NULL, NULL, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(channel_kind_rewrite(rpm_kind(), dir, &all, in_tmp("d"), &o, keep_all_but, (void *)(uintptr_t) "aa",
				       &e) == 0,
		  "%s", e.msg);
	CHECK_STR(listed("d", NULL), "bb.rpm ");
	auto_fd made = open(in_tmp("d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(rpm_repomd_read(made, NULL, &a, &r, &e), 1);
	CHECK_INT(r.n, 4);
	CHECK(rpm_repomd_find(&r, "modules") && !rpm_repomd_find(&r, "primary_db"));
	CHECK(str_eq(r.tags, STR("<tags><content>x</content></tags>")));
	/* the record as it was, but for where it lay; with what its root declared */
	auto_ptr(istream) in = NULL;
	char text[4096];
	CHECK_MSG(rpm_data_open(made, rpm_repomd_find(&r, "primary"), &in, &e) == 0, "%s", e.msg);
	ssize_t n = istream_read(in, text, sizeof(text) - 1, &e);
	CHECK(n > 0);
	text[n] = '\0';
	CHECK_MSG(strstr(text, OTHER_PACKAGE("bb", "")) ||
			  strstr(text, "<location href=\"bb.rpm\"/><format suse:x=\"1\"/>"),
		  "%s", text);
	CHECK(strstr(text, "<description>&lt;location xml:base=\"no\" </description>") &&
	      strstr(text, "xmlns:suse=\"urn:x\""));
	CHECK(!strstr(text, "elsewhere") && strstr(text, "packages=\"1\""));
}

TEST(a_channel_that_leads_away)
{
	static const struct form f = {COMPRESS_GZIP, "sha256", DIGEST_SHA256};
	static const struct channel_walk_opts all = {0};
	auto_ptr(channel_walk) w = NULL;
	auto_buf b = BUF_INIT(1000);
	put_other("u", &f);
	auto_fd dir = open(in_tmp("u"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(channel_walk_new(rpm_kind(), dir, &all, &w, &e), 0);
	while (channel_walk_next(w, list_item, &b, &e) > 0)
		;
	CHECK(channel_walk_leads_away(w));
}

TEST(damaged_metadata_are_not_read)
{
	struct fs_list l = {0};
	auto_ptr(channel_walk) w = NULL;
	static const struct channel_walk_opts all = {0};
	CHECK_MSG(publish("c", make_package("a", "1", ""), NULL) == 0, "%s", e.msg);
	CHECK_INT(fs_list(AT_FDCWD, in_tmp("c/repodata"), 100, &l, &e), 0);
	for (size_t i = 0; i < l.n; i++)
		if (str_ends(str_c(l.name[i]), STR("-primary.xml.gz"))) {
			char path[256];
			snprintf(path, sizeof(path), "c/repodata/%s", l.name[i]);
			put(path, STR("something else"));
		}
	fs_list_release(&l);
	auto_fd dir = open(in_tmp("c"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_buf b = BUF_INIT(1000);
	CHECK_INT(channel_walk_new(rpm_kind(), dir, &all, &w, &e), 0);
	CHECK_INT(channel_walk_next(w, list_item, &b, &e), 1);
	CHECK_INT(channel_walk_next(w, list_item, &b, &e), 1);
	CHECK_INT(channel_walk_next(w, list_item, &b, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_INT(publish("c", make_package("b", "1", ""), NULL), -1);
	CHECK_INT(e.code, ERR_VERIFY);
}
