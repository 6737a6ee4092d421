// SPDX-License-Identifier: Apache-2.0
/* The options themselves, and the files they stand in. */
#include "mirror/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/url.h"
#include "base/vec.h"
#include "mirror/upstream.h"

enum { FILE_MAX = 1 << 20, CHANNELS_MAX = 10000 };

/* -- the tables ---------------------------------------------------------------------------------------------------- */

#define O(n, k, where, value, text, ...)                                                                               \
	{                                                                                                              \
		.name = (n), .kind = OPTION_##k, .at = (where), .standard = (value), .comment = (text), ##__VA_ARGS__  \
	}
#define AT(field) offsetof(struct mirror_config, field)
static const struct option option_server[] = {
	O("listen", TEXT, 0, "0.0.0.0:10082",
	  "HOST:PORT of the service, always TLS. Port 443 is led here by socket "
	  "activation, by a capability or by a redirect, never by two of them."),
	O("admin", TEXT, AT(server.admin) - AT(server.listen), "127.0.0.1:10080",
	  "HOST:PORT of /healthz, /metrics and the status page; plain HTTP, so only for this host or a trusted net."),
	O("certificate", FILE, AT(server.certificate) - AT(server.listen), NULL,
	  "Certificate chain and key of the service (PEM); empty: of the mirror's own authority."),
	O("key", FILE, AT(server.key) - AT(server.listen), NULL, NULL),
	O("clientAuthority", FILE, AT(server.client_ca) - AT(server.listen), NULL,
	  "Who signs the certificates of clients (PEM); empty: the mirror's own authority."),
	O("threads", COUNT, AT(server.threads) - AT(server.listen), "0",
	  "Threads that serve; 0: one for each processor.", .min = 0, .max = 1024),
	O("connections", COUNT, AT(server.connections) - AT(server.listen), "20000",
	  "Open connections at most; the limit of open files of the process (LimitNOFILE, ulimit -n) may make it less.",
	  .min = 1, .max = 10000000),
	O("connectionsPerAddress", COUNT, AT(server.per_address) - AT(server.listen), "0",
	  "Of them from one address (IPv6: one /64); 0: a quarter of them, so that nobody can have all. Where clients come\n"
	  "through one gateway, as many as there are.",
	  .min = 0, .max = 10000000),
	O("headerTimeout", TIME, AT(server.header_ms) - AT(server.listen), "15 s",
	  "How long a client may take for a handshake, and to say what it wants."),
	O("idleTimeout", TIME, AT(server.idle_ms) - AT(server.listen), "75 s",
	  "How long a connection may wait unused."),
	O("sendTimeout", TIME, AT(server.stall_ms) - AT(server.listen), "60 s",
	  "A client that takes or gives nothing for so long, or less than 256 bytes a second, is left."),
	{.name = NULL},
};
static const struct option option_mail[] = {
	O("to", TEXT, 0, NULL, "Who is told of errors; empty: nobody, they stand in the log alone."),
	O("from", TEXT, AT(mail.from) - AT(mail.to), NULL, "Empty: slipway@ and the host above."),
	O("smtp", TEXT, AT(mail.smtp) - AT(mail.to), NULL,
	  "HOST:PORT of a mail server; empty: by the sendmail program."),
	O("sendmail", TEXT, AT(mail.sendmail) - AT(mail.to), "/usr/sbin/sendmail", NULL),
	O("perHour", COUNT, AT(mail.per_hour) - AT(mail.to), "4",
	  "At most so many; what comes meanwhile is told in the next one.", .min = 1, .max = 1000),
	{.name = NULL},
};
static const struct option option_snapshots[] = {
	O("perEnvironment", COUNT, 0, "1000", "So many of each environment of a client.", .min = 1, .max = 1000),
	O("keepFor", TIME, AT(snapshots.age_ms) - AT(snapshots.kept), "1826 days",
	  "What is older goes; the newest of each environment stays, however old it is."),
	O("perClient", SIZE, AT(snapshots.client_bytes) - AT(snapshots.kept), "256 MiB",
	  "Room for all snapshots of a client; its oldest ones make room."),
	{.name = NULL},
};

const struct option option_main[] = {
	O("name", TEXT, AT(name), NULL, "What this mirror is called: unique among all that its upstreams know."),
	O("host", TEXT, AT(host), NULL,
	  "The name that clients reach it by; it is in its certificate, so it never changes."),
	O("download", WORD, AT(download), "RELEASED",
	  "What is downloaded before anybody asks for it (a channel may say otherwise):\n"
	  "RELEASED   what appears upstream from the day on that the channel is followed\n"
	  "HISTORIC   everything, what was there before as well\n"
	  "ON_DEMAND  nothing: a package comes when a client asks for it, and stays",
	  .words = "RELEASED HISTORIC ON_DEMAND"),
	O("bulkDownloadSpeedInMbitPerSecond", NUMBER, AT(bulk_mbit_per_s), "10",
	  "Limit of what nobody waits for, in megabit per second; 0: none. It holds for released and for historic files\n"
	  "separately, so twice as much may come in all. What a client waits for is never limited.",
	  .min = 0, .max = 1000000),
	O("bulkBackoffFactor", NUMBER, AT(bulk_backoff), "1.5",
	  "After a download of 2 s that nobody waits for, 3 s pass before the next where this is 1.5, so that a slow net or\n"
	  "upstream is not pressed. Time that the limit above took does not count.",
	  .min = 0, .max = 1000),
	O("bulkParallel", COUNT, AT(bulk_parallel), "4", "So many of them at once, each with a pause of its own.",
	  .min = 1, .max = 64),
	O("parallelChannels", COUNT, AT(parallel_channels), "4",
	  "So many channels are brought up to date at once; they share the limits above.", .min = 1, .max = 64),
	O("slowUpstreamInKbitPerSecond", NUMBER, AT(slow_kbit_per_s), "32",
	  "An upstream that sends less than this for the time below is left, and the next one goes on where it stopped.",
	  .min = 0, .max = 1000000),
	O("stallTimeout", TIME, AT(stall_ms), "20 s", NULL),
	O("connectTimeout", TIME, AT(connect_ms), "10 s", NULL),
	O("refresh", TIME, AT(refresh_ms), "15 min", "How often upstreams are asked for something new."),
	O("grace", TIME, AT(grace_ms), "7 days",
	  "How long a file stays that no metadata name any more: so long a client may still have metadata that do."),
	O("scrub", TIME, AT(scrub_ms), "30 days",
	  "Within this time everything that is held is read again and compared with its digest; damaged files are set aside\n"
	  "and fetched again."),
	O("reserve", SIZE, AT(reserve_bytes), "1 GiB", "Free space that downloads leave alone."),
	O("server", SECTION, AT(server.listen), NULL, "How clients are served.", .section = option_server),
	O("mail", SECTION, AT(mail.to), NULL, "Errors by mail.", .section = option_mail),
	O("snapshots", SECTION, AT(snapshots.kept), NULL, "What clients store of their environments.",
	  .section = option_snapshots),
	O("log", WORD, AT(log), "auto",
	  "Where to tell what happens; auto: the journal where the service manager provides it, else DIR/log.",
	  .words = "auto journal syslog file"),
	{.name = NULL},
};
#undef AT
#define AT(field) offsetof(struct mirror_upstream, field)
const struct option option_upstream[] = {
	O("id", TEXT, AT(id), NULL, "Short; unique in this list."),
	O("name", TEXT, AT(name), NULL, "For people."),
	O("url", URL, AT(url), NULL,
	  "Where channels lie below. Plain http:// to another host only for channels whose metadata\n"
	  "are signed and verified here: 'keyring' (deb, rpm) or 'tufRoot' is set."),
	O("priority", COUNT, AT(priority), "10",
	  "Higher is preferred; among equal ones the one that was measured to be faster.", .min = -1000000,
	  .max = 1000000),
	O("ca", FILE, AT(ca), NULL, "Who must have signed its certificate (PEM); empty: whom the system trusts."),
	O("certificate", FILE, AT(certificate), NULL, "Certificate and key that this mirror shows (PEM)."),
	O("key", FILE, AT(key), NULL, NULL),
	{.name = NULL},
};
#undef AT
#define AT(field) offsetof(struct mirror_channel, field)
const struct option option_channel[] = {
	O("kind", KIND, AT(kind), NULL, "conda, deb, rpm, pypi or opam."),
	O("type", WORD, AT(type), NULL,
	  "local   packages of one's own (slipway channel publish)\n"
	  "proxy   files of another channel as clients ask for them, and kept\n"
	  "mirror  a copy of another channel, or of a part of it",
	  .words = "local proxy mirror"),
	O("platforms", LIST, AT(platforms), NULL,
	  "Which part: conda subdirs (noarch comes with them), deb and rpm architectures; none: all."),
	O("suites", LIST, AT(suites), NULL, "deb: folders below dists, such as bookworm; must be said."),
	O("components", LIST, AT(components), NULL, "deb: such as main; none: all."),
	O("names", LIST, AT(names), NULL,
	  "Packages by name, * and ? allowed; none: all. Metadata are made that name these alone."),
	O("extras", LIST, AT(extras), NULL,
	  "deb: index files beside those of packages, as globs below the suite, such as main/i18n/Translation-en*."),
	O("sources", YES, AT(sources), "no", "deb and rpm: sources as well."),
	O("keyring", FILE, AT(keyring), NULL,
	  "OpenPGP keys (file) one of which must have signed the upstream's metadata; empty: not checked."),
	O("tufRoot", FILE, AT(tuf_root), NULL,
	  "Root of trust (file) of an upstream that is signed as a whole (slipway channel sign): its metadata have to be signed by it, and\n"
	  "are carried on with what signs them; empty: not checked."),
	O("signKey", TEXT, AT(sign_key), NULL,
	  "deb and rpm: fingerprint of the key that signs metadata made here, and gpg's folder that holds it."),
	O("signHome", FILE, AT(sign_home), NULL, NULL),
	O("download", WORD, AT(download), NULL, "As in mirror.yaml, which holds where nothing is said here.",
	  .words = "RELEASED HISTORIC ON_DEMAND"),
	O("whenIncomplete", WORD, AT(incomplete), "switch",
	  "A package that upstream has damaged or not at all: switch to the new metadata all the same, or wait for it.",
	  .words = "switch wait"),
	O("refresh", TIME, AT(refresh_ms), NULL, NULL),
	O("grace", TIME, AT(grace_ms), NULL, NULL),
	O("private", YES, AT(is_private), "no", "Only for clients that were enrolled and given this channel."),
	O("shards", YES, AT(shards), "no", "conda, local: make sharded metadata (CEP 16)."),
	O("origin", TEXT, AT(origin), NULL, "deb: Origin and Label of metadata made here."),
	O("label", TEXT, AT(label), NULL, NULL),
	O("os", TEXT, AT(os), NULL,
	  "For which systems it is, apart by ';': 'debian >=11,<13; ubuntu 22.04', a code name ('bookworm'), what the\n"
	  "host must have ('__glibc >=2.28'). Other clients are told that there is nothing for them; empty: for all."),
	O("description", TEXT, AT(description), NULL, "For people."),
	{.name = NULL},
};
#undef AT

/* -- upstreams ----------------------------------------------------------------------------------------------------- */

static struct str file_of(struct arena *a, const char *dir, struct str file)
{
	return file.n && file.p[0] != '/' ? str_c(arena_printf(a, "%s/%.*s", dir, STR_ARG(file))) : file;
}

static int upstream_cmp(const void *a, const void *b)
{
	const struct mirror_upstream *x = a, *y = b;
	return x->priority != y->priority ? (x->priority < y->priority ? 1 : -1) : str_cmp(x->id, y->id);
}

static int read_upstream(struct arena *a, const char *dir, const struct yaml *y, size_t n, struct mirror_upstream *ret,
			 struct err *e)
{
	*ret = (struct mirror_upstream){0};
	if (option_defaults(option_upstream, ret, e) < 0)
		return -1;
	if (y->type == YAML_SCALAR) { /* its URL alone */
		const struct option *url = option_upstream;
		while (url->kind != OPTION_URL)
			url++;
		struct yaml_pair pair = {STR("url"), y->line, *y};
		struct yaml map = {.type = YAML_MAP, .n = 1, .line = y->line, .where = y->where, .pair = &pair};
		if (option_read(a, option_upstream, &map, "", ret, e) < 0)
			return -1;
		ret->priority -= (int64_t)n; /* as they stand */
	} else if (y->type != YAML_MAP) {
		return yaml_error(y, e, "an upstream must be a URL or lines of 'key: value'");
	} else if (option_read(a, option_upstream, y, "", ret, e) < 0) {
		return -1;
	}
	if (!ret->url.n)
		return yaml_error(y, e, "an upstream must have a 'url'");
	if (!ret->id.n)
		ret->id = str_c(arena_printf(a, "%zu", n + 1));
	if (!ret->name.n)
		ret->name = ret->id;
	ret->ca = file_of(a, dir, ret->ca);
	ret->certificate = file_of(a, dir, ret->certificate);
	ret->key = file_of(a, dir, ret->key);
	return 0;
}

static int read_upstreams(struct arena *a, const char *dir, const struct yaml *y, const struct mirror_upstream **ret,
			  size_t *ret_n, struct err *e)
{
	if (!y || yaml_is_null(y))
		return 0;
	const struct yaml *item = y->type == YAML_LIST ? y->item : y;
	size_t n = y->type == YAML_LIST ? y->n : 1;
	struct mirror_upstream *v = arena_array(a, struct mirror_upstream, n + 1);
	for (size_t i = 0; i < n; i++) {
		if (read_upstream(a, dir, &item[i], i, &v[i], e) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (str_eq(v[k].id, v[i].id))
				return yaml_error(&item[i], e, "two upstreams have the id '%.*s'", STR_ARG(v[i].id));
	}
	if (n)
		qsort(v, n, sizeof(*v), upstream_cmp);
	*ret = v;
	*ret_n = n;
	return 0;
}

/* The mirror's upstreams as a channel sees them: below each lies a folder of its name, or of `path`. */
static void inherit_upstreams(struct arena *a, const struct mirror_config *c, struct str path,
			      struct mirror_channel *ch)
{
	struct mirror_upstream *v = arena_array(a, struct mirror_upstream, c->upstreams_n + 1);
	for (size_t i = 0; i < c->upstreams_n; i++) {
		v[i] = c->upstreams[i];
		v[i].url = str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(v[i].url), STR_ARG(path)));
	}
	ch->upstreams = v;
	ch->upstreams_n = c->upstreams_n;
}

/* A channel's own have ids of their own: what is known of one's health is kept by id. */
static void own_upstreams(struct arena *a, struct mirror_channel *ch)
{
	struct mirror_upstream *v = arena_copy(a, ch->upstreams, ch->upstreams_n, sizeof(*v));
	for (size_t i = 0; i < ch->upstreams_n && ch->name.n; i++)
		v[i].id = str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(ch->name), STR_ARG(v[i].id)));
	ch->upstreams = v;
}

/* -- channels ------------------------------------------------------------------------------------------------------ */

/* What the server answers itself at the top: api.c, and handler.c's other name of all channels. */
static bool is_reserved(struct str name)
{
	static const char *const words[] = {"api", "enroll", "get", "pki", "renew"};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_eq_c(name, words[i]))
			return true;
	return false;
}

int mirror_name_check(struct str name, struct err *e)
{
	if (is_reserved(name))
		return err_new(e, ERR_USAGE,
			       "'%.*s' cannot be a channel's name: a mirror answers there itself; choose another",
			       STR_ARG(name));
	bool good = name.n > 0 && name.n <= 100;
	for (size_t i = 0; good && i < name.n; i++) {
		char c = name.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		good = alnum || (i > 0 && (c == '.' || c == '_' || c == '-'));
	}
	return good ? 0
		    : err_new(e, ERR_USAGE,
			      "'%.*s' cannot be a channel's name (letters, digits, '.', '_', '-'; at most 100)",
			      STR_ARG(name));
}

/* Whether a wrong byte of the upstream's would be found here, whoever sent it. A proxy passes on what clients of rpm check themselves,
 * or do not. */
static bool is_verified(const struct mirror_channel *ch)
{
	const char *kind = channel_kind_name(ch->kind);
	bool deb = strcmp(kind, "deb") == 0, rpm = strcmp(kind, "rpm") == 0;
	if (ch->type == MIRROR_PROXY)
		return deb && ch->keyring.n;
	return ((deb || rpm) && ch->keyring.n) || ch->tuf_root.n;
}

static const char *what_verifies(const struct mirror_channel *ch)
{
	bool deb = strcmp(channel_kind_name(ch->kind), "deb") == 0;
	if (ch->type == MIRROR_PROXY)
		return deb ? "or set 'keyring'" : "or follow it by 'type: mirror', signed";
	return deb || strcmp(channel_kind_name(ch->kind), "rpm") == 0
		       ? "or set 'keyring' (or 'tufRoot'), where it is signed"
		       : "or set 'tufRoot', where it is signed as a whole";
}

static int check_upstreams(const struct mirror_channel *ch, const struct yaml *y, struct err *e)
{
	for (size_t i = 0; i < ch->upstreams_n && ch->type != MIRROR_LOCAL && !is_verified(ch); i++) {
		auto_buf shown = BUF_INIT(4096);
		if (!upstream_is_open(ch->upstreams[i].url))
			continue;
		url_put_shown(&shown, ch->upstreams[i].url);
		return yaml_error(
			y, e,
			"channel '%.*s' would take what it is not able to verify from '%.*s', over plain HTTP; use https://, %s",
			STR_ARG(ch->name), STR_ARG(buf_str(&shown)), what_verifies(ch));
	}
	return 0;
}

static int check_channel(const struct mirror_channel *ch, const struct yaml *y, struct err *e)
{
	struct err os = ERR_INIT;
	if (channel_os_check(ch->os, &os) < 0)
		return yaml_error(y, e, "channel '%.*s': %s", STR_ARG(ch->name), os.msg);
	if (!ch->kind)
		return yaml_error(y, e, "channel '%.*s' must have a 'kind'", STR_ARG(ch->name));
	if (ch->type != MIRROR_LOCAL && !ch->upstreams_n)
		return yaml_error(y, e, "channel '%.*s' follows others: it must have 'upstreams'", STR_ARG(ch->name));
	if (ch->type == MIRROR_FOLLOW && strcmp(channel_kind_name(ch->kind), "deb") == 0 && !ch->suites.n)
		return yaml_error(y, e, "channel '%.*s' must have 'suites', since no server tells them",
				  STR_ARG(ch->name));
	if (ch->type == MIRROR_PROXY && ch->names.n)
		return yaml_error(
			y, e,
			"channel '%.*s' is a proxy, which passes on all packages; a part is of 'type: mirror', with "
			"'download: ON_DEMAND' where packages shall come when somebody asks",
			STR_ARG(ch->name));
	return check_upstreams(ch, y, e);
}

static int read_channel(struct arena *a, const char *dir, const struct mirror_config *c, struct str name,
			const struct yaml *y, struct mirror_channel *ret, struct err *e)
{
	const struct yaml *path = yaml_get(y, "path"), *upstreams = yaml_get(y, "upstreams");
	struct str at = name;
	*ret = (struct mirror_channel){.name = name,
				       .file = y->where,
				       .type = upstreams ? MIRROR_FOLLOW : MIRROR_LOCAL,
				       .download = c->download,
				       .refresh_ms = c->refresh_ms,
				       .grace_ms = c->grace_ms};
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "channel '%.*s' must be lines of 'key: value'", STR_ARG(name));
	if (option_defaults(option_channel, ret, e) < 0 ||
	    option_read(a, option_channel, y, "upstreams path", ret, e) < 0 ||
	    read_upstreams(a, dir, upstreams, &ret->upstreams, &ret->upstreams_n, e) < 0 ||
	    (path && yaml_str(path, "path", &at, e) < 0))
		return -1;
	if (ret->upstreams_n)
		own_upstreams(a, ret);
	else if (ret->type != MIRROR_LOCAL)
		inherit_upstreams(a, c, at, ret);
	if (ret->type == MIRROR_PROXY)
		ret->download = MIRROR_ON_DEMAND;
	ret->keyring = file_of(a, dir, ret->keyring);
	ret->tuf_root = file_of(a, dir, ret->tuf_root);
	ret->sign_home = file_of(a, dir, ret->sign_home);
	return check_channel(ret, y, e);
}

static const struct yaml *read_yaml(struct arena *a, int dir_fd, const char *dir, const char *name, struct err *e)
{
	auto_buf text = BUF_INIT(FILE_MAX);
	const char *where = arena_printf(a, "%s/%s", dir, name);
	if (fs_read(dir_fd, name, &text, e) < 0) {
		err_ctx(e, "read '%s'", where);
		return NULL;
	}
	const struct yaml *y = yaml_parse(a, arena_str(a, buf_str(&text)), where, e);
	if (y && y->type != YAML_MAP) {
		yaml_error(y, e, "expected lines of 'key: value'");
		return NULL;
	}
	return y;
}

VEC_TYPE(channel_vec, struct mirror_channel);

static int channel_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct mirror_channel *)a)->name, ((const struct mirror_channel *)b)->name);
}

static int add_channel(struct arena *a, const char *dir, const struct mirror_config *c, struct str name,
		       const struct yaml *y, struct channel_vec *v, struct err *e)
{
	struct mirror_channel ch;
	struct err own = ERR_INIT;
	if (mirror_name_check(name, &own) < 0)
		return yaml_error(y, e, "%s", own.msg);
	vec_foreach(x, v)
		if (str_eq(x->name, name))
			return yaml_error(y, e, "channel '%.*s' is in '%s' already", STR_ARG(name), x->file);
	if (read_channel(a, dir, c, name, y, &ch, e) < 0)
		return -1;
	vec_push(v, ch);
	return 0;
}

static int add_channels_of_main(struct arena *a, const char *dir, const struct mirror_config *c,
				const struct yaml *main, struct channel_vec *v, struct err *e)
{
	const struct yaml *y = yaml_get(main, "channels");
	if (!y || yaml_is_null(y))
		return 0;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "'channels' must be names with their options");
	for (uint32_t i = 0; i < y->n; i++)
		if (add_channel(a, dir, c, y->pair[i].key, &y->pair[i].value, v, e) < 0)
			return -1;
	return 0;
}

static int add_channel_files(struct arena *a, int dir_fd, const char *dir, const struct mirror_config *c,
			     struct channel_vec *v, struct err *e)
{
	auto_fs_list list = {0};
	if (!fs_exists(dir_fd, CHANNELS_FOLDER))
		return 0;
	if (fs_list(dir_fd, CHANNELS_FOLDER, CHANNELS_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		struct str name = str_c(list.name[i]);
		if (name.p[0] == '.' || !str_ends(name, STR(".yaml")))
			continue;
		const struct yaml *y =
			read_yaml(a, dir_fd, dir, arena_printf(a, CHANNELS_FOLDER "/%s", list.name[i]), e);
		if (!y || add_channel(a, dir, c, arena_str(a, str_head(name, name.n - 5)), y, v, e) < 0)
			return -1;
	}
	return 0;
}

static int read_channels(struct arena *a, int dir_fd, const char *dir, const struct yaml *main, struct mirror_config *c,
			 struct err *e)
{
	struct channel_vec v = {0};
	int rc = add_channels_of_main(a, dir, c, main, &v, e) < 0 || add_channel_files(a, dir_fd, dir, c, &v, e) < 0
			 ? -1
			 : 0;
	vec_sort(&v, channel_cmp);
	c->channels = vec_copy(&v, a);
	c->channels_n = v.n;
	vec_release(&v);
	return rc;
}

/* A folder with one channel: nothing limits what a person asks for. */
static int read_plain(struct arena *a, int dir_fd, const char *dir, struct mirror_config *c, struct err *e)
{
	struct mirror_channel *ch = arena_new(a, struct mirror_channel);
	const struct yaml *y = read_yaml(a, dir_fd, dir, PLAIN_FILE, e);
	c->bulk_mbit_per_s = c->bulk_backoff = 0;
	c->download = MIRROR_HISTORIC;
	c->channels = ch;
	c->channels_n = 1;
	return y ? read_channel(a, dir, c, STR(""), y, ch, e) : -1;
}

int mirror_config_read(struct arena *a, int dir_fd, const char *dir, bool plain, struct mirror_config *ret,
		       struct err *e)
{
	*ret = (struct mirror_config){0};
	if (option_defaults(option_main, ret, e) < 0)
		return -1;
	if (plain)
		return read_plain(a, dir_fd, dir, ret, e);
	const struct yaml *y = read_yaml(a, dir_fd, dir, MIRROR_FILE, e);
	if (!y || option_read(a, option_main, y, "upstreams channels", ret, e) < 0 ||
	    read_upstreams(a, dir, yaml_get(y, "upstreams"), &ret->upstreams, &ret->upstreams_n, e) < 0)
		return -1;
	if (!ret->name.n || !ret->host.n)
		return yaml_error(y, e, "'%s' must be said", ret->name.n ? "host" : "name");
	ret->server.certificate = file_of(a, dir, ret->server.certificate);
	ret->server.key = file_of(a, dir, ret->server.key);
	ret->server.client_ca = file_of(a, dir, ret->server.client_ca);
	return read_channels(a, dir_fd, dir, y, ret, e);
}
