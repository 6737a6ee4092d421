// SPDX-License-Identifier: Apache-2.0
/*
 * Channel addresses: the channel, the alias and a reference of its metadata, a line each. A canonical address is its own
 * canonical form, what is shown holds no credentials, a channel is found by each of its names, and a reference stays on
 * its host.
 */
#include "base/url.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, struct str s)
{
	if (!good)
		panic("%s: '%.*s'", what, STR_ARG(s));
}

static struct str last_part(struct str url)
{
	return str_skip(url, (size_t)(str_rfind(url, '/') + 1));
}

static void check_channel(struct arena *a, const struct channel *c, const struct channel_config *cc)
{
	struct channel again;
	struct err e = ERR_INIT;
	must(str_find(url_origin(c->shown), '@') < 0, "credentials are shown", c->shown);
	must(channel_matches(c, c->url) && channel_matches(c, c->shown) && channel_matches(c, c->name),
	     "not found by its names", c->url);
	/* one folder of a platform's name, or of its file's, is taken off each time that an address is read */
	if (channel_is_subdir(last_part(c->url)) || str_starts(last_part(c->url), STR("repodata.json")))
		return;
	must(channel_parse(a, c->url, cc, &again, &e) == 0, e.msg, c->url);
	must(str_eq(c->url, again.url) && str_eq(c->shown, again.shown) && str_eq(c->name, again.name) &&
		     strcmp(c->id, again.id) == 0,
	     "another address when read again", c->url);
	struct str file = str_c(arena_printf(a, "%.*s/x.conda", STR_ARG(c->shown)));
	struct str private_url = channel_private_url(a, c, 1, file);
	must(str_starts(private_url, c->url) || str_eq(private_url, file), "another channel's credentials",
	     private_url);
}

static void check_reference(struct arena *a, struct str folder, struct str ref)
{
	struct str joined = channel_url_join(a, folder, ref);
	struct str origin = url_origin(folder);
	if (str_search(ref, STR("://")) >= 0)
		return;
	must(str_starts(joined, origin) && str_search(str_skip(joined, origin.n), STR("/../")) < 0, "leads elsewhere",
	     joined);
	must(joined.n == origin.n || joined.p[origin.n] == '/', "another host", joined);
}

static void check_path(struct str path)
{
	auto_buf url = BUF_INIT(BUF_MAX), back = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	if (!str_starts(path, STR("/")) || memchr(path.p, '\0', path.n))
		return;
	buf_put_c(&url, "file://");
	url_put_path(&url, path);
	must(url_file_path(buf_str(&url), &back, &e) == 0, e.msg, buf_str(&url));
	must(str_eq(buf_str(&back), path), "another path", buf_str(&url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct str rest = str_of((const char *)data, size), text = rest, alias = STR_NONE;
	struct err e = ERR_INIT;
	struct channel c;
	if (size == 0 || size > 4000)
		return 0;
	(void)str_take_line(&rest, &text);
	(void)str_take_line(&rest, &alias);
	struct channel_config cc = {.alias = alias, .cwd = STR("/nowhere/at all")};
	if (channel_parse(&a, text, &cc, &c, &e) == 0) {
		check_channel(&a, &c, &cc);
		check_reference(&a, str_c(arena_printf(&a, "%.*s/", STR_ARG(c.url))), rest);
	} else {
		must(e.msg[0], "no reason", text);
		/* of what has the form of a URL with a password nothing of it may be in the message */
		if (str_starts(text, STR("https://u:secretive@")))
			must(!strstr(e.msg, "secretive"), "a password in a message", str_c(e.msg));
	}
	check_path(text);
	return 0;
}
