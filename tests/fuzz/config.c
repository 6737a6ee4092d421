// SPDX-License-Identifier: Apache-2.0
/*
 * A configuration file, read as Slipway's own and as conda's: what is good as the first is good as the second and says
 * the same; conda's never stops a command. Each channel that it names is read as an address.
 */
#include "base/config.h"
#include "base/fs.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char condarc[96];

static char *environment(const char *name)
{
	return strcmp(name, "CONDARC") == 0 && condarc[0] ? condarc : NULL;
}

static void same(struct config_text x, struct config_text y)
{
	if (!str_eq(x.s, y.s) || x.line != y.line || !x.file != !y.file)
		panic("'%.*s' of line %u is '%.*s' of line %u", STR_ARG(x.s), x.line, STR_ARG(y.s), y.line);
}

static void same_lists(struct config_list x, struct config_list y)
{
	if (x.n != y.n)
		panic("%zu channels are %zu", x.n, y.n);
	for (size_t i = 0; i < x.n; i++)
		same(x.v[i], y.v[i]);
}

static void check_same(const struct config *own, const struct config *conda)
{
	same_lists(own->channels, conda->channels);
	same_lists(own->default_channels, conda->default_channels);
	same(own->channel_alias, conda->channel_alias);
	if (own->custom_channels_n != conda->custom_channels_n || own->channel_priority != conda->channel_priority)
		panic("custom channels or priority differ");
	for (size_t i = 0; i < own->custom_channels_n; i++) {
		same(own->custom_channels[i].name, conda->custom_channels[i].name);
		same(own->custom_channels[i].url, conda->custom_channels[i].url);
	}
	if (conda->warnings_n)
		panic("good as our own, but: %s", conda->warnings[0]);
}

static void read_channels(struct arena *a, const struct config *c)
{
	struct channel_config cc = {.alias = c->channel_alias.s, .cwd = STR("/nowhere")};
	for (size_t i = 0; i < c->channels.n; i++) {
		struct channel ch;
		struct err e = ERR_INIT;
		if (channel_parse(a, c->channels.v[i].s, &cc, &ch, &e) < 0 && !e.msg[0])
			panic("no reason");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config own, conda;
	int dir = fuzz_dir();
	if (fs_replace(dir, "config.yml", data, size, 0, &e) < 0)
		panic("%s", e.msg);
	condarc[0] = '\0';
	int rc = config_load(&a, &(struct config_sources){.root = fuzz_folder, .environment = environment}, &own, &e);
	if (rc < 0 && !strstr(e.msg, "/config.yml"))
		panic("no file in '%s'", e.msg);
	snprintf(condarc, sizeof(condarc), "%s/config.yml", fuzz_folder);
	if (config_load(&a, &(struct config_sources){.environment = environment}, &conda, &e) < 0)
		panic("%s", e.msg);
	if (rc == 0)
		check_same(&own, &conda);
	read_channels(&a, &conda);
	return 0;
}
