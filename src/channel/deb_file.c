// SPDX-License-Identifier: Apache-2.0
/* What a .deb says of itself: an ar archive whose second member is a tar with the file "control". */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/zip.h"
#include "channel/deb.h"
#include "channel/package.h"

enum { AR_HEAD = 60, CONTROL_MAX = 1 << 20, MEMBERS_MAX = 64, CONTROL_TAR_MAX = 512 << 20, NAME_MAX_BYTES = 200 };

/* -- the archive ---------------------------------------------------------------------------------------------------- */

static int bad(const struct deb_file *f, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is no Debian package: %s", f->path, why);
}

static int read_at(int fd, const struct deb_file *f, uint64_t at, void *p, size_t n, struct err *e)
{
	ssize_t got = pread(fd, p, n, (off_t)at);
	if (got < 0)
		return err_sys(e, "read '%s'", f->path);
	return (size_t)got == n ? 0 : bad(f, "it ends too early", e);
}

struct member {
	struct str name;
	uint64_t at, size;
};

/* The member whose header is at `at`; head keeps its name. */
static int read_member(int fd, const struct deb_file *f, uint64_t at, char head[AR_HEAD], struct member *ret,
		       struct err *e)
{
	if (read_at(fd, f, at, head, AR_HEAD, e) < 0)
		return -1;
	ret->name = str_trim(str_of(head, 16));
	if (str_ends(ret->name, STR("/")))
		ret->name.n--;
	ret->at = at + AR_HEAD;
	if (memcmp(head + 58, "`\n", 2) != 0 || !str_to_u64(str_trim(str_of(head + 48, 10)), &ret->size))
		return bad(f, "a member's header is damaged", e);
	if (ret->size > f->size - ret->at)
		return bad(f, "a member is larger than the file", e);
	return 0;
}

/* debian-binary, control.tar, data.tar; others, whose names begin with '_', may stand between. */
static int find_control(int fd, const struct deb_file *f, char head[AR_HEAD], struct member *ret, struct err *e)
{
	char magic[8], other[AR_HEAD];
	struct member m;
	enum { WANT_BINARY, WANT_CONTROL, WANT_DATA, DONE } want = WANT_BINARY;
	if (f->size < 8 || read_at(fd, f, 0, magic, 8, e) < 0 || memcmp(magic, "!<arch>\n", 8) != 0)
		return bad(f, "it does not begin like one", e);
	uint64_t at = 8;
	for (int n = 0; want != DONE; n++) {
		if (n == MEMBERS_MAX)
			return bad(f, "it has too many members", e);
		if (at + AR_HEAD > f->size)
			return bad(f, "it ends too early", e);
		if (read_member(fd, f, at, want == WANT_CONTROL ? head : other, &m, e) < 0)
			return -1;
		at = m.at + m.size + (m.size & 1);
		if (want == WANT_BINARY) {
			char version[4];
			if (!str_eq_c(m.name, "debian-binary") || m.size < 4 ||
			    read_at(fd, f, m.at, version, 4, e) < 0 || memcmp(version, "2.", 2) != 0)
				return bad(f, "its format is not 2.x", e);
			want = WANT_CONTROL;
		} else if (m.name.n > 0 && m.name.p[0] == '_') {
			continue;
		} else if (want == WANT_CONTROL) {
			if (!str_starts(m.name, STR("control.tar")))
				return bad(f, "its second member is no control.tar", e);
			*ret = m;
			want = WANT_DATA;
		} else {
			if (!str_starts(m.name, STR("data.tar")))
				return bad(f, "its third member is no data.tar", e);
			want = DONE;
		}
	}
	return 0;
}

static int read_control(int fd, const struct deb_file *f, struct buf *b, struct err *e)
{
	char head[AR_HEAD];
	struct member m = {0};
	if (find_control(fd, f, head, &m, e) < 0)
		return -1;
	struct zip_range range = {.offset = m.at, .size = m.size};
	auto_ptr(istream)
		tar = istream_limit(istream_unpack(istream_range(fd, range, f->path), m.name), CONTROL_TAR_MAX);
	int rc = package_tar_find(tar, STR("control"), b, e);
	return rc < 0 ? err_ctx(e, "control of '%s'", f->path) : rc == 0 ? bad(f, "it has no control file", e) : 0;
}

/* -- control -------------------------------------------------------------------------------------------------------- */

static bool is_word(struct str s, const char *more)
{
	bool good = s.n > 0 && s.n <= NAME_MAX_BYTES && s.p[0] != '-' && s.p[0] != '+' && s.p[0] != '.';
	for (size_t i = 0; good && i < s.n; i++) {
		char c = s.p[i];
		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		       (c && strchr(more, c));
	}
	return good;
}

/* What an index adds, and what belongs to dpkg's own status. */
static bool is_left_out(struct str name)
{
	static const char *const left_out[] = {"Filename", "Size",	     "MD5sum", "SHA1",		 "SHA256",
					       "SHA512",   "MSDOS-Filename", "Status", "Config-Version", "Conffiles"};
	for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
		if (deb_name_eq(name, str_c(left_out[i])))
			return true;
	return false;
}

/* One stanza, each line a field or the continuation of one, printable. */
static int check_text(const struct deb_file *f, struct str text, struct err *e)
{
	struct str line;
	bool first = true;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
			return bad(f, "its control file holds a control character", e);
	}
	while (str_take_line(&text, &line)) {
		bool more = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');
		if (str_trim(line).n == 0)
			return bad(f, "its control file holds an empty line", e);
		ptrdiff_t colon = str_find(line, ':');
		if (more ? first : colon < 1 || !is_word(str_head(line, (size_t)colon), "-_"))
			return bad(f, "a line of its control file is no field", e);
		first = false;
	}
	return 0;
}

static int take_fields(struct deb_file *f, struct str text, struct err *e)
{
	static const char *const names[] = {"Package", "Version", "Architecture", "Source"};
	struct str v[4];
	struct deb_field x;
	auto_buf b = BUF_INIT(CONTROL_MAX + 1);
	deb_fields(text, names, v, 4);
	if (!is_word(v[0], "-+._") || !is_word(v[2], "-"))
		return bad(f, "it has no good name or architecture", e);
	if (pkg_deb_version_check(v[1], e) < 0)
		return err_ctx(e, "'%s'", f->path);
	struct str rest = v[3], source = v[0];
	if (v[3].p && (!str_take_word(&rest, &source) || !is_word(source, "-+._")))
		return bad(f, "the name of its source is none", e);
	buf_printf(&b, "Package: %.*s\n", STR_ARG(v[0])); /* first, as readers expect */
	while (deb_take_field(&text, &x))
		if (!deb_name_eq(x.name, STR("Package")) && !is_left_out(x.name))
			buf_put_str(&b, x.lines);
	f->name = arena_str(&f->arena, v[0]);
	f->version = arena_str(&f->arena, v[1]);
	f->platform = arena_str(&f->arena, v[2]);
	f->source = arena_str(&f->arena, source);
	f->control = arena_str(&f->arena, buf_str(&b));
	return 0;
}

int deb_file_read(struct deb_file *f, struct err *e)
{
	struct stat st;
	auto_buf control = BUF_INIT(CONTROL_MAX);
	auto_fd fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", f->path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", f->path);
	if (!S_ISREG(st.st_mode))
		return bad(f, "it is no file", e);
	f->size = (uint64_t)st.st_size;
	f->mtime = st.st_mtim;
	if (read_control(fd, f, &control, e) < 0)
		return -1;
	while (control.n > 0 && control.p[control.n - 1] == '\n')
		buf_truncate(&control, control.n - 1);
	control.max++;
	buf_put_char(&control, '\n');
	struct str text = buf_str(&control);
	return check_text(f, text, e) < 0 ? -1 : take_fields(f, text, e);
}

int deb_file_hash(struct deb_file *f, struct err *e)
{
	struct stat st;
	auto_fd fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, "open '%s'", f->path);
	if (sha256_fd(fd, f->sha256, e) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", f->path);
	return (uint64_t)st.st_size == f->size ? 0
					       : err_new(e, ERR_VERIFY, "'%s' changed while it was published", f->path);
}

void deb_file_release(struct deb_file *f)
{
	arena_release(&f->arena);
}
