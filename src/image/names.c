// SPDX-License-Identifier: Apache-2.0
/*
 * Names of images. "docker.io/library/debian:latest", "docker.io/debian" and "debian" are one and the same: the shortest stands for all.
 */
#include <stdio.h>

#include "image/internal.h"

enum { FILE_NAME_LIMIT = 250 };
static const struct str ending = {".json", 5};

bool image_digest_parse(struct str s, uint8_t ret[SHA256_SIZE])
{
	return str_take_str(&s, STR("sha256:")) && str_unhex(s, ret, SHA256_SIZE);
}

struct str image_digest_str(const uint8_t sha256[SHA256_SIZE], struct arena *a)
{
	char hex[SHA256_HEX_SIZE];
	hex_encode(sha256, SHA256_SIZE, hex);
	return str_c(arena_printf(a, "sha256:%s", hex));
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
	       c == '-';
}

static const char *what_is_wrong(struct str name)
{
	char before = '/';
	if (name.n > IMAGE_NAME_MAX)
		return "is longer than 200 bytes";
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!is_plain(c) && c != '/' && c != ':' && c != '+')
			return "may hold letters, digits and . _ - + / : alone";
		if (!is_plain(before) && (!is_plain(c) || c == '.' || c == '-'))
			return "has an empty part, or one that begins with a dot or hyphen";
		before = c;
	}
	return is_plain(before) || name.n == 0 ? NULL : "ends with a slash or colon";
}

int image_ref_parse(struct str text, struct arena *a, struct image_ref *ret, struct err *e)
{
	uint8_t sum[SHA256_SIZE];
	struct str name = text, digest = STR_NONE;
	ptrdiff_t at = str_find(text, '@');
	if (at >= 0) {
		name = str_head(text, (size_t)at);
		digest = str_skip(text, (size_t)at + 1);
		if (!image_digest_parse(digest, sum))
			return err_new(e, ERR_USAGE,
				       "image '%s': a digest is written '@sha256:' with 64 hexadecimal digits",
				       tar_shown(text).s);
		digest = image_digest_str(sum, a);
	}
	if (!str_take_str(&name, STR("docker.io/library/")) && !str_take_str(&name, STR("docker.io/")))
		str_take_str(&name, STR("index.docker.io/"));
	if (str_ends(name, STR(":latest")))
		name.n -= strlen(":latest");
	const char *wrong = what_is_wrong(name);
	if (name.n == 0 && digest.n == 0)
		wrong = "is empty";
	if (wrong)
		return err_new(e, ERR_USAGE, "the name of an image %s: '%s'", wrong, tar_shown(text).s);
	*ret = (struct image_ref){arena_str(a, name), digest};
	return 0;
}

struct str image_file_of(struct str name, struct arena *a)
{
	auto_buf b = BUF_INIT(4 * IMAGE_NAME_MAX);
	for (size_t i = 0; i < name.n; i++)
		if (is_plain(name.p[i]))
			buf_put_char(&b, name.p[i]);
		else
			buf_printf(&b, "%%%02x", (unsigned char)name.p[i]);
	buf_put_str(&b, ending);
	return arena_str(a, buf_str(&b));
}

struct str image_name_of(struct str file, struct arena *a)
{
	auto_buf b = BUF_INIT(FILE_NAME_LIMIT * 4);
	if (file.n == 0 || file.p[0] == '.' || !str_ends(file, ending))
		return STR_NONE;
	file.n -= ending.n;
	for (size_t i = 0; i < file.n; i++) {
		uint8_t byte = (uint8_t)file.p[i];
		if (byte == '%') {
			if (file.n - i < 3 || !str_unhex(str_of(file.p + i + 1, 2), &byte, 1))
				return STR_NONE;
			i += 2;
		}
		buf_put_char(&b, (char)byte);
	}
	return what_is_wrong(buf_str(&b)) ? STR_NONE : arena_str(a, buf_str(&b));
}
