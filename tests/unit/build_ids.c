// SPDX-License-Identifier: Apache-2.0
/* OBuilder's own ids: those of a real job's log, those that another implementation of the formula gives, and its manifests. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "build/build.h"
#include "build/source.h"
#include "build/spec.h"

static struct arena arena;
static struct err err;

#define WORD(z)                                                                                                        \
	{                                                                                                              \
		z, sizeof(z) - 1                                                                                       \
	}
/* What `docker image inspect` says of the image of the log. */
static const struct str opam_env[] = {
	WORD("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
	WORD("HOME=/home/opam"),
	WORD("OPAMYES=1"),
	WORD("OPAMCONFIRMLEVEL=unsafe-yes"),
	WORD("OPAMERRLOGLEN=0"),
	WORD("OPAMPRECISETRACKING=1"),
};
enum { OPAM_ENV = sizeof(opam_env) / sizeof(opam_env[0]) };

static void read_log(struct buf *b)
{
	CHECK_INT(fs_read(AT_FDCWD, test_shared("seeds/000_4f42bc4ed8fb3538.txt"), b, &err), 0);
}

static struct str spec_of_log(struct str log)
{
	ptrdiff_t begin = str_search(log, STR("Using OBuilder spec:\n"));
	CHECK(begin >= 0);
	log = str_skip(log, (size_t)begin + 21);
	ptrdiff_t end = str_search(log, STR("\n)\n"));
	CHECK(end >= 0);
	return str_head(log, (size_t)end + 3);
}

/* The next `---> using "ID" …` or `---> saved as "ID"`. */
static struct spec_id next_id(struct str *log)
{
	struct spec_id id = {""};
	ptrdiff_t at = str_search(*log, STR(" ---> "));
	CHECK(at >= 0);
	*log = str_skip(*log, (size_t)at);
	at = str_find(*log, '"');
	CHECK(at > 0 && (size_t)at + 66 <= log->n);
	memcpy(id.hex, log->p + at + 1, 64);
	*log = str_skip(*log, (size_t)at + 66);
	return id;
}

TEST(ids_of_the_log)
{
	auto_buf b = BUF_INIT(1 << 20);
	read_log(&b);
	struct str log = buf_str(&b);
	struct build_spec s;
	CHECK_INT(spec_parse(spec_of_log(log), "log", &arena, &s, &err), 0);
	struct spec_context c = spec_context_of(opam_env, OPAM_ENV, &arena);
	struct spec_id base = next_id(&log);
	CHECK_STR(spec_id_from(s.from).hex, base.hex);
	int same = 1, copies = 0;
	for (size_t i = 0; i < s.n_ops; i++) {
		spec_context_step(&c, &s.ops[i], &arena);
		if (s.ops[i].kind != SPEC_RUN && s.ops[i].kind != SPEC_COPY)
			continue;
		struct spec_id want = next_id(&log);
		if (s.ops[i].kind == SPEC_RUN) {
			CHECK_STR(spec_id_run(&base, &c, &s.ops[i], NULL, 0).hex, want.hex);
			same++;
		} else {
			copies++; /* of a tree that the log does not hold */
		}
		base = want;
	}
	CHECK_INT(same, 9);
	CHECK_INT(copies, 1);
}

/* The log's spec is printed as the log has it, and so is each heading. */
TEST(prints_of_the_log)
{
	auto_buf b = BUF_INIT(1 << 20), out = BUF_INIT(BUF_MAX);
	read_log(&b);
	struct str log = buf_str(&b), text = spec_of_log(log);
	struct build_spec s;
	CHECK_INT(spec_parse(text, "log", &arena, &s, &err), 0);
	spec_print(&s, &out);
	buf_put_char(&out, '\n');
	CHECK(str_eq(buf_str(&out), text));
	struct spec_context c = spec_context_of(opam_env, OPAM_ENV, &arena);
	for (size_t i = 0; i < s.n_ops; i++) {
		buf_clear(&out);
		buf_put_c(&out, "\n\n");
		spec_print_op(&s.ops[i], &c, &out);
		buf_put_char(&out, '\n');
		ptrdiff_t at = str_search(log, i ? buf_str(&out) : str_skip(buf_str(&out), 1));
		CHECK_MSG(at > 0, "the log has no heading%s", out.p);
		log = str_skip(log, (size_t)at + 1);
		spec_context_step(&c, &s.ops[i], &arena);
	}
}

/* -- against values that a script of a dozen lines gives ---------------------------------------------------------- */

static struct spec_id id_of_op(const char *op, const struct build_secret *secrets, size_t n)
{
	struct build_spec s;
	struct spec_id base = spec_id_from(STR("b"));
	static const struct str env[] = {{"A=1", 3}, {"B=x y", 5}};
	CHECK_INT(spec_parse(str_c(arena_printf(&arena, "((from b) (env C \"\") (workdir w) (user (uid 5) (gid 6)) %s)",
						op)),
			     "f", &arena, &s, &err),
		  0);
	struct spec_context c = spec_context_of(env, 2, &arena);
	for (size_t i = 0; i < s.n_ops; i++)
		spec_context_step(&c, &s.ops[i], &arena);
	return spec_id_run(&base, &c, &s.ops[s.n_ops - 1], secrets, n);
}

TEST(ids_of_runs)
{
	static const struct build_secret v[] = {{{"s", 1}, {"top secret", 10}}, {{"t", 1}, {"x\n", 2}}};
	CHECK_STR(id_of_op("(run (shell true))", NULL, 0).hex,
		  "39e01c49b178bcd155c054d323e2abe3f1ad43ebbd79d78526439940d68e4015");
	CHECK_STR(id_of_op("(run (network host) (secrets (t (target /t)) (s (target /s))) (shell \"a\\n\xc3\xbc\"))", v,
			   2)
			  .hex,
		  "bee2201baa03053a6300c2630e7303492a9684c8140236e19297e25833926d2a");
	/* caches are not in it */
	CHECK_STR(id_of_op("(run (cache (c (target /c))) (shell true))", NULL, 0).hex,
		  "39e01c49b178bcd155c054d323e2abe3f1ad43ebbd79d78526439940d68e4015");
}

/* -- manifests ----------------------------------------------------------------------------------------------------- */

static int a_tree(void)
{
	int dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir >= 0);
	CHECK_INT(fs_replace(dir, "file", "file-data", 9, 0, &err), 0);
	CHECK_INT(symlinkat("/root", dir, "link"), 0);
	return dir;
}

static void check_manifest(int dir, const char *word, const char *exclude, const char *want, int line)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct source s;
	struct str w = str_c(word), x = str_c(exclude);
	err = ERR_INIT;
	if (source_walk(
		    dir,
		    &(struct source_opts){
			    .words = &w, .n_words = 1, .excludes = &x, .n_excludes = exclude ? 1 : 0, .cancel_fd = -1},
		    &arena, &s, &err) < 0)
		buf_put_c(&b, err_code_name(err.code));
	else
		spec_put_manifest(&s, 0, &b);
	test_check_str(__FILE__, line, word, b.p, want);
}
#define MANIFEST(word, exclude, want) check_manifest(dir, word, exclude, want, __LINE__)

TEST(manifests)
{
	auto_fd dir = a_tree();
	MANIFEST("file", NULL, "(File(file 8e6537b695ff181bc341e32d8b8970485ac3513408e5eb1e8ba9fc5af1cd3f57))");
	MANIFEST("./file", NULL, "(File(file 8e6537b695ff181bc341e32d8b8970485ac3513408e5eb1e8ba9fc5af1cd3f57))");
	MANIFEST("/file", NULL, "(File(file 8e6537b695ff181bc341e32d8b8970485ac3513408e5eb1e8ba9fc5af1cd3f57))");
	MANIFEST("file2", NULL, "not-found");
	MANIFEST("file/file2", NULL, "input");
	MANIFEST("../file", NULL, "input");
	MANIFEST("link", NULL, "(Symlink(link /root))");
	MANIFEST("link/file", NULL, "input");
	MANIFEST("", "file", "(Dir(\"\"((Symlink(link /root)))))");
	MANIFEST(
		".", NULL,
		"(Dir(\"\"((File(file 8e6537b695ff181bc341e32d8b8970485ac3513408e5eb1e8ba9fc5af1cd3f57))(Symlink(link /root)))))");
	CHECK_INT(mkdirat(dir, "dir1", 0700), 0);
	CHECK_INT(mkdirat(dir, "dir1/dir2", 0700), 0);
	CHECK_INT(mkdirat(dir, "dir1/empty", 0700), 0);
	CHECK_INT(fs_replace(dir, "dir1/dir2/file2", "file2", 5, 0, &err), 0);
	MANIFEST("dir1/dir2/file2", NULL,
		 "(File(dir1/dir2/file2 3377870dfeaaa7adf79a374d2702a3fdb13e5e5ea0dd8aa95a802ad39044a92f))");
	MANIFEST(
		"dir1", NULL,
		"(Dir(dir1((Dir(dir1/dir2((File(dir1/dir2/file2 3377870dfeaaa7adf79a374d2702a3fdb13e5e5ea0dd8aa95a802ad39044a92f)))))(Dir(dir1/empty())))))");
	MANIFEST("dir1", "dir2", "(Dir(dir1((Dir(dir1/empty())))))");
	CHECK_INT(mkfifoat(dir, "dir1/pipe", 0600), 0);
	MANIFEST("dir1", NULL, "input");
	MANIFEST(
		"dir1", "pipe",
		"(Dir(dir1((Dir(dir1/dir2((File(dir1/dir2/file2 3377870dfeaaa7adf79a374d2702a3fdb13e5e5ea0dd8aa95a802ad39044a92f)))))(Dir(dir1/empty())))))");
}

TEST(ids_of_copies)
{
	auto_fd dir = a_tree();
	struct build_spec s;
	struct source source;
	struct spec_id base = spec_id_from(STR("b"));
	CHECK_INT(spec_parse(STR("((from b) (workdir /w) (copy (src file link) (dst d/)) (copy (src .) (dst /x)))"),
			     "f", &arena, &s, &err),
		  0);
	struct spec_context c = spec_context_of(NULL, 0, &arena);
	spec_context_step(&c, &s.ops[0], &arena);
	CHECK_INT(source_walk(dir, &(struct source_opts){.words = s.ops[1].words, .n_words = 2, .cancel_fd = -1},
			      &arena, &source, &err),
		  0);
	CHECK_STR(spec_id_copy(&base, &c, &s.ops[1], &source, &arena).hex,
		  "66d3ec7669741c026f5c68eafab6a377b6d90e54b6c61bda856463cfa6844c1e");
	CHECK_INT(source_walk(dir, &(struct source_opts){.words = s.ops[2].words, .n_words = 1, .cancel_fd = -1},
			      &arena, &source, &err),
		  0);
	CHECK_STR(spec_id_copy(&base, &c, &s.ops[2], &source, &arena).hex,
		  "306b531eaf77cc75f360836cd75bad5fd57ed4de1fa63c5c01bd8625ee8eb0ef");
}

/* -- a whole spec --------------------------------------------------------------------------------------------------- */

TEST(whole_spec)
{
	auto_fd dir = a_tree();
	static const struct build_secret secret = {{"s", 1}, {"v", 1}};
	struct build_ids o = {
		.text = STR(
			"((build one ((from a) (run (shell x))))\n (from b) (workdir /w) (copy (src file) (dst .))\n"
			" (run (secrets (s (target /s))) (shell y)))"),
		.file = "f",
		.src = test_tmp(),
		.env = opam_env,
		.n_env = OPAM_ENV,
		.secrets = &secret,
		.n_secrets = 1};
	struct build_id *id;
	size_t n;
	CHECK_MSG(build_ids(&o, &arena, &id, &n, &err) == 0, "%s", err.msg);
	CHECK_INT(n, 5);
	CHECK(str_eq_c(id[0].stage, "one") && str_eq_c(id[0].heading, "(from a)") && id[2].stage.n == 0);
	CHECK_STR(id[1].heading.p, "/: (run (shell x))");
	CHECK_STR(id[2].hex, spec_id_from(STR("b")).hex);
	CHECK(id[3].line == 2 && id[3].column == 24);
	CHECK_STR(id[4].heading.p, "/w: (run (secrets (s (target /s)))\n         (shell y))");
	o.n_secrets = 0;
	CHECK(build_ids(&o, &arena, &id, &n, &err) < 0 && n == 4);
	CHECK_STR(err.msg, "f:3:16: the value of secret 's' is in the id; say --secret s=FILE");
	o.src = NULL;
	CHECK(build_ids(&o, &arena, &id, &n, &err) < 0 && n == 3);
	CHECK_STR(err.msg, "f:2:24: the id of a copy follows from its files; name the folder that they are in");
	o.env = NULL;
	CHECK(build_ids(&o, &arena, &id, &n, &err) < 0 && n == 1);
}
