// SPDX-License-Identifier: Apache-2.0
/* Names, the choice in an index, Debian's sources. */
#include "image/internal.h"

#include "lib/test.h"

#define HEX "1b8db2464075e045f2710c633c15ec40916e273f0dea1055c6f56c58e621387a"

static const char *name_of(const char *text)
{
	static struct arena a;
	struct image_ref ref;
	struct err e = ERR_INIT;
	return image_ref_parse(str_c(text), &a, &ref, &e) < 0 ? "-" : ref.name.p;
}

TEST(names_have_one_form)
{
	CHECK_STR(name_of("debian"), "debian");
	CHECK_STR(name_of("debian:latest"), "debian");
	CHECK_STR(name_of("docker.io/library/debian:12"), "debian:12");
	CHECK_STR(name_of("docker.io/ocaml/opam:debian-12-ocaml-5.3@sha256:" HEX), "ocaml/opam:debian-12-ocaml-5.3");
	CHECK_STR(name_of("index.docker.io/x/y"), "x/y");
	CHECK_STR(name_of("localhost:5000/a/b:1.0+x"), "localhost:5000/a/b:1.0+x");
	static const char *const bad[] = {
		"",    "/",	      "a/",   "/a",   "a//b",	  "a/../b", ".",
		"..",  "a b",	      "a\nb", "a:",   ":a",	  "-a",	    "a/-b",
		"a@b", "a@sha256:12", "a\\",  "a%2f", "\xc3\xa4", "a/.b",   "a@sha256:" HEX "0"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_STR(name_of(bad[i]), "-");
	char longest[IMAGE_NAME_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[IMAGE_NAME_MAX + 1] = '\0';
	CHECK_STR(name_of(longest), "-");
	CHECK_STR(name_of(longest + 1), longest + 1);
}

TEST(digests)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct image_ref ref;
	CHECK_INT(image_ref_parse(STR("x@sha256:1B8DB2464075E045F2710C633C15EC40916E273F0DEA1055C6F56C58E621387A"), &a,
				  &ref, &e),
		  0);
	CHECK_STR(ref.digest.p, "sha256:" HEX);
	CHECK_INT(image_ref_parse(STR("@sha256:" HEX), &a, &ref, &e), 0);
	CHECK_STR(ref.name.p, "");
	CHECK_INT(image_ref_parse(STR("x@sha512:" HEX), &a, &ref, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

TEST(files_of_names)
{
	auto_arena a = ARENA_INIT;
	CHECK_STR(image_file_of(STR("ocaml/opam:5.3"), &a).p, "ocaml%2fopam%3a5.3.json");
	CHECK_STR(image_name_of(STR("ocaml%2fopam%3a5.3.json"), &a).p, "ocaml/opam:5.3");
	CHECK(image_name_of(STR(".lock"), &a).p == NULL);
	CHECK(image_name_of(STR(".x.json.12.0.tmp"), &a).p == NULL);
	CHECK(image_name_of(STR("a%2.json"), &a).p == NULL);
	CHECK(image_name_of(STR("..%2fx.json"), &a).p == NULL);
}

static const char *chosen(const char *manifests, const char *tag, const char *platform)
{
	static struct arena a;
	struct err e = ERR_INIT;
	struct oci_document d;
	struct image_config p;
	const struct oci_descriptor *c;
	auto_buf b = BUF_INIT(1 << 20);
	buf_printf(&b, "{\"manifests\": [%s]}", manifests);
	CHECK_INT(oci_parse_document(arena_str(&a, buf_str(&b)), "x", &a, &d, &e), 0);
	CHECK_INT(oci_platform(str_c(platform), &a, &p, &e), 0);
	if (oci_choose(&d, "x", str_c(tag), &p, &c, &e) < 0)
		return arena_strdup(&a, str_c(e.msg));
	return arena_printf(&a, "%llu", (unsigned long long)c->size);
}

/* SIZE stands for the manifest. */
#define M(size, platform, notes)                                                                                       \
	"{\"digest\": \"sha256:" HEX "\", \"size\": " #size ", \"platform\": {" platform "}, \"annotations\": {" notes \
	"}}"
#define AMD "\"os\": \"linux\", \"architecture\": \"amd64\""
#define ARM(v) "\"os\": \"linux\", \"architecture\": \"arm64\", \"variant\": \"" v "\""
#define TAG(t) "\"org.opencontainers.image.ref.name\": \"" t "\""

TEST(one_of_an_index)
{
	CHECK_STR(chosen(M(1, AMD, "") "," M(2, ARM("v8"), ""), "", "linux/amd64"), "1");
	CHECK_STR(chosen(M(1, AMD, "") "," M(2, ARM("v8"), ""), "", "linux/arm64"), "2");
	CHECK_STR(chosen(M(1, AMD, "") "," M(2, ARM("v8"), ""), "", "linux/arm64/v8"), "2");
	CHECK_STR(chosen(M(1, "", TAG("a")) "," M(2, "", TAG("b")), "b", "linux/amd64"), "2");
	CHECK_STR(chosen(M(1, "", TAG("a")) "," M(2, "", TAG("x/y:b")), "b", "linux/amd64"), "2");
	CHECK_STR(chosen(M(1, AMD, "\"vnd.docker.reference.type\": \"attestation-manifest\"") "," M(2, AMD, ""), "",
			 "linux/amd64"),
		  "2");
	CHECK(strstr(chosen(M(1, "", TAG("a")) "," M(2, "", TAG("b")), "", "linux/amd64"), "say which one with --tag"));
	CHECK(strstr(chosen(M(1, AMD, ""), "", "linux/riscv64"),
		     "'x' has no image for linux/riscv64; it has: sha256:1b8db2464075 for linux/amd64"));
	CHECK(strstr(chosen("", "", "linux/amd64"), "none at all"));
}

TEST(platforms)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct image_config p;
	CHECK_INT(oci_platform(STR_NONE, &a, &p, &e), 0);
	CHECK(str_eq(p.os, STR("linux")) && p.arch.n > 0);
	CHECK_INT(oci_platform(STR("arm64"), &a, &p, &e), -1);
	CHECK_INT(oci_platform(STR("linux/"), &a, &p, &e), -1);
}

static void sources(const char *text, bool deb822, const char *want, const char *mirror)
{
	auto_buf lines = BUF_INIT(1 << 16), first = BUF_INIT(1 << 16);
	debian_sources(str_c(text), deb822, "bookworm", &lines, &first);
	CHECK_STR(lines.p, want);
	CHECK_STR(first.p, mirror);
}

TEST(sources_of_debian)
{
	sources("deb http://m/debian bookworm main contrib # x\ndeb-src http://m/debian bookworm main\n# deb http://n/debian bookworm main\n"
		"deb [arch=amd64 signed-by=/k.gpg] http://s/debian-security/ bookworm-security main\n",
		false,
		"deb http://m/debian bookworm main contrib\ndeb [signed-by=/k.gpg] http://s/debian-security/ bookworm-security main\n",
		"http://m/debian");
	sources("deb https://download.docker.com/linux/debian bookworm stable\ndeb https://apt.example.com bookworm main\n"
		"deb http://m/debian bookworm-backports main\n",
		false, "", "http://m/debian");
	sources("Types: deb deb-src\nURIs: http://m/debian\n# x\nSuites: bookworm bookworm-updates\nComponents: main\n"
		"Signed-By: /k.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://n/debian\nSuites: bookworm\nComponents: main\n",
		true,
		"deb [signed-by=/k.gpg] http://m/debian bookworm main\ndeb [signed-by=/k.gpg] http://m/debian bookworm-updates main\n",
		"http://m/debian");
	sources("Types: deb\nURIs: http://m/debian\nSuites: trixie\nComponents: main\n", true, "", "http://m/debian");
	sources("", true, "", "");
}
