// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * mirror: a folder of channels that follow others, and what clients get of it.
 *
 * The way of the data:
 *
 *	upstreams ── sync ──▶ content/<channel>/.slipway/staging   metadata, stage by stage, each verified by the one before
 *	    │          │      state/mirror.db                      what is expected: path, size, digest, where it lies
 *	    │          └────▶ content/<channel>/                   packages; then named metadata; then pointers, by rename
 *	    └── fetch on demand ▶ content/<channel>/               one request upstream, however many clients wait for it
 *	                             │
 *	clients ◀── find ────────────┘    what is in the tree is served as it is; what is expected or proxied is fetched
 *
 * DIR/mirror.yaml           configuration, each option explained in it (doc/formats/mirror.md)
 * DIR/channels/NAME.yaml    one channel each, made by `slipway channel create`; mirror.yaml may hold channels as well
 * DIR/content/NAME/         a plain channel tree, as nginx can serve it; .slipway/ in it is the engine's and never served
 * DIR/state/mirror.db       SQLite (db.h): expectations, upstreams' health, history; enrolment in tables of its own
 * DIR/log/                  text
 *
 * A plain folder that follows something is the same with one channel: FOLDER/.slipway/channel.yaml and .slipway/mirror.db.
 *
 * Processes and threads: any number of processes may have a mirror open. A sync holds its channel's lock (.slipway/lock); what
 * readers see changes by rename only, so they need no lock and are never waited for. A struct mirror may be used by several
 * threads; a struct mirror_reader and a struct mirror_fetch_view belong to one.
 * Times are milliseconds; wall unless the name says mono. Speeds are bytes per second unless the name says otherwise.
 */
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/progress.h"
#include "channel/channel.h"
#include "pki/pki.h"
#include "transfer/transfer.h"
#include "tuf/tuf.h"

/* == 1. configuration ============================================================================================= */
enum mirror_download { MIRROR_RELEASED, MIRROR_HISTORIC, MIRROR_ON_DEMAND };
enum mirror_type { MIRROR_LOCAL, MIRROR_PROXY, MIRROR_FOLLOW };
enum mirror_incomplete { MIRROR_SWITCH, MIRROR_WAIT };
enum mirror_log { MIRROR_LOG_AUTO, MIRROR_LOG_JOURNAL, MIRROR_LOG_SYSLOG, MIRROR_LOG_FILE };

struct mirror_list {
	const struct str *v; /* NUL-terminated each, as all text here */
	size_t n;
};
struct mirror_upstream {
	struct str id, name, url; /* url without a slash at its end; may hold credentials: show url_put_shown() of it */
	int64_t priority;	  /* higher is preferred */
	struct str ca, certificate, key; /* files; "": the system's, none */
};
struct mirror_channel {
	struct str name;
	const char *file; /* where it is configured */
	enum mirror_type type;
	const struct channel_kind *kind;
	const struct mirror_upstream *upstreams; /* best first; with the channel's own path in the url */
	size_t upstreams_n;
	struct mirror_list platforms, suites, components, names, extras;
	bool sources, is_private, shards;
	struct str keyring, tuf_root, sign_key, sign_home;
	enum mirror_download download;
	enum mirror_incomplete incomplete;
	int64_t refresh_ms, grace_ms; /* how old pointers may get; how long what is named no longer stays */
	struct str origin, label, description;
	struct str os; /* for which systems: channel_os_meets */
};
struct mirror_config {
	struct str name, host;
	enum mirror_download download;
	double bulk_mbit_per_s; /* 0: no limit; for what was released and what is historic separately */
	double bulk_backoff;	/* after a file that took t, nothing for so many t */
	int64_t bulk_parallel, parallel_channels;
	double slow_kbit_per_s; /* an upstream that sends less for stall_ms is left for the next */
	int64_t stall_ms, connect_ms;
	int64_t refresh_ms, grace_ms, scrub_ms; /* defaults of channels; how often everything held is read again */
	uint64_t reserve_bytes;			/* free space that is left alone */
	struct {
		struct str listen, admin;		   /* HOST:PORT */
		struct str certificate, key, client_ca;	   /* "": DIR/pki's own */
		int64_t threads, connections, per_address; /* 0: as many as processors; a quarter of them */
		int64_t header_ms, idle_ms, stall_ms;
	} server;
	struct {
		struct str to, from, smtp, sendmail; /* to "": nothing is mailed */
		int64_t per_hour;
	} mail;
	enum mirror_log log;
	struct {
		int64_t kept, age_ms;
		uint64_t client_bytes;
	} snapshots; /* as struct mirror_snapshot_limits */
	const struct mirror_upstream *upstreams;
	size_t upstreams_n;
	const struct mirror_channel *channels; /* by name */
	size_t channels_n;
};

struct mirror_init {
	struct str name, host;
};
/* Makes DIR with mirror.yaml and its folders. ERR_EXISTS where it is a mirror already. */
int mirror_init(const char *dir, const struct mirror_init *o, struct err *e);

struct mirror_create {
	enum mirror_type type;
	const struct channel_kind *kind;
	struct mirror_list from; /* URLs or folders, best first */
	struct mirror_list platforms, suites, components, names;
	struct str download; /* "": the mirror's */
	struct str keyring, tuf_root, sign_key, sign_home;
	bool sources, is_private, shards;
};
/* Writes the channel's file, all options explained, in a mirror (`name`) or a plain folder (name ""), and makes its tree.
 * ERR_EXISTS where there is one of that name. */
int mirror_create(const char *dir, struct str name, const struct mirror_create *o, struct err *e);

struct mirror;
/* `dir` is a mirror or a plain folder that was made by mirror_create. ERR_NOT_FOUND says how to make one; a wrong line of
 * configuration is ERR_INPUT with file, line and the nearest word that is known. */
int mirror_open(const char *dir, struct mirror **ret, struct err *e);
void mirror_close(struct mirror *m);
DEFINE_AUTO(struct mirror *, mirror, mirror_close);
const char *mirror_dir(const struct mirror *m);
bool mirror_is_plain(const struct mirror *m); /* a folder with one channel, whose name is "" */
const struct mirror_config *mirror_config(const struct mirror *m);
/* NULL where there is none of that name. */
const struct mirror_channel *mirror_channel(const struct mirror *m, struct str name);
/* Reads all of mirror.db: ERR_VERIFY where it is damaged. */
int mirror_db_check(struct mirror *m, struct err *e);
/* DIR/state/mirror.db, or that of a plain folder. */
const char *mirror_db_path(const struct mirror *m);
/* The tree of a channel. -1 with *e. */
int mirror_tree(const struct mirror *m, const struct mirror_channel *c, struct err *e);

/* == 2. what a client asks for ==================================================================================== */
/*
 * Serving a request:
 *
 *	mirror_find(r, channel, path, &f, e)
 *	MIRROR_NONE      404: no such channel, no such file in such a kind, or nobody upstream has it
 *	MIRROR_HELD      send f.fd; where f.stale is said, also mirror_fetch_begin(r, &f, NULL, NULL, NULL, e), whose answer nobody
 *	                 waits for: what is held is good while its upstreams do not answer
 *	MIRROR_WANTED    mirror_fetch_begin(r, &f, notify, ctx, &fetch, e), then as notify says:
 *	                   mirror_fetch_look(fetch, &view); send view.fd up to view.ready bytes; until view.done
 *	                   mirror_fetch_leave(fetch)
 *
 * The last bytes of a fetch whose digest is known are shown only when the whole was verified: a client whose download is
 * damaged sees it break off, never a whole wrong file. view.err then says why; before any byte was shown it is a 502 (or
 * 404 for ERR_NOT_FOUND, 507 for no space).
 *
 * Whether the caller may see the channel (private: yes) is decided before, by its keeper.
 */
struct mirror_reader; /* of one thread */
int mirror_reader_new(struct mirror *m, struct mirror_reader **ret, struct err *e);
void mirror_reader_free(struct mirror_reader *r);
DEFINE_AUTO(struct mirror_reader *, mirror_reader, mirror_reader_free);

enum mirror_answer { MIRROR_NONE, MIRROR_HELD, MIRROR_WANTED };
struct mirror_found {
	enum mirror_answer answer;
	const struct mirror_channel *channel;
	enum channel_file file;
	char path[CHANNEL_PATH_MAX + 1];
	const char *type; /* Content-Type */
	/* MIRROR_HELD: */
	int fd; /* the caller's to close; else -1 */
	uint64_t size;
	int64_t changed_ms;
	char etag[64]; /* strong, with its quotes */
	bool stale;
	/* MIRROR_WANTED: what is known */
	bool told;	    /* by metadata that came */
	uint64_t want_size; /* 0: not told */
	struct digest_value digest;
};
int mirror_find(struct mirror_reader *r, struct str channel, struct str path, struct mirror_found *ret, struct err *e);

struct mirror_fetch; /* shared by all who asked for the same file */
/* Called from another thread, which holds no lock, whenever there is more to see; only to wake somebody up. */
typedef void mirror_fetch_notify(void *ctx);
struct mirror_fetch_view {
	int fd;		/* the fetch's own: read it with pread while the fetch is not left */
	uint64_t ready; /* bytes that may be sent */
	uint64_t size;	/* 0: not known yet, or not before the end */
	bool whole;	/* all of it may be sent; it may still be on its way into the tree */
	bool done;	/* the end, good or not */
	struct err err; /* ERR_NONE: good; where it is whole: why it could not be kept */
};
/* ret NULL: nobody waits. Foreground fetches never wait behind bulk ones: they have an engine and a thread of their own. */
int mirror_fetch_begin(struct mirror_reader *r, const struct mirror_found *f, mirror_fetch_notify *notify, void *ctx,
		       struct mirror_fetch **ret, struct err *e);
void mirror_fetch_look(struct mirror_fetch *x, struct mirror_fetch_view *ret);
/* For callers with a thread to spare: waits until more than `past` bytes are ready, or the end. */
void mirror_fetch_wait(struct mirror_fetch *x, uint64_t past, struct mirror_fetch_view *ret);
/* The fetch goes on without the caller, since others may want the file soon. `notify` is not called any more: one that is under way
 * is waited for, so whoever leaves holds no lock that it takes. */
void mirror_fetch_leave(struct mirror_fetch *x, void *ctx);
/* Has the tree hold these files of a channel, several at once; waits until all of them are there, or one cannot be had. */
int mirror_bring(struct mirror_reader *r, struct str channel, const struct str *paths, size_t n, struct err *e);

/* == 3. following ================================================================================================= */
struct mirror_sync_opts {
	bool dry_run;		 /* metadata are looked at, nothing is switched or kept */
	bool force;		 /* also where nothing changed upstream */
	double bulk_mbit_per_s;	 /* < 0: as configured; 0: no limit */
	const atomic_bool *stop; /* NULL, or: ends as soon as may be, ERR_FAILED "interrupted"; what came so far stays */
	struct progress *progress;
	const struct clock *clock; /* NULL: the system's */
};
struct mirror_damage {
	struct str path, reason;
};
struct mirror_sync_result {
	uint64_t metadata_files, metadata_bytes; /* brought */
	uint64_t packages, package_bytes;	 /* that the channel tells of, as filtered */
	uint64_t held, held_bytes;		 /* of these, before */
	uint64_t wanted, wanted_bytes;		 /* to be brought by this sync, as `download` says */
	uint64_t historic, historic_bytes;	 /* part of wanted: was there when the channel was first followed */
	uint64_t on_demand, on_demand_bytes;	 /* left until somebody asks */
	uint64_t fetched, fetched_bytes;	 /* brought from an upstream */
	uint64_t linked, linked_bytes; /* taken from another channel, or from the partial files of an earlier sync */
	uint64_t unsized;	       /* packages whose size is not told: in no count of bytes */
	const struct mirror_damage *damaged; /* could not be had; sorted by path */
	size_t damaged_n;
	bool unchanged; /* nothing new upstream */
	bool switched;	/* clients see the new metadata */
	int64_t took_ms;
};
/*
 * Brings a channel up to date. Metadata come into a staging folder, stage by stage, and are verified; packages are fetched,
 * or linked where another channel holds the digest; then named metadata and pointers are put in place by rename, all synced
 * before. Whatever ends it, clients see the old state or the new one, and the next sync goes on from what came.
 *
 * One damaged or missing package does not stop the others: it is in `damaged`. Where each upstream answered and had nothing
 * right for it, the metadata are switched all the same (`incomplete: SWITCH`, the default); where upstreams did not answer,
 * or with WAIT, they are not, and the sync ends with ERR_FAILED, *ret filled.
 * ERR_BUSY: another sync holds the channel; the message says which process. ERR_FAILED with e->sys ENOSPC: there is not
 * enough space for it beside the reserve; nothing was begun.
 */
int mirror_sync(struct mirror *m, const struct mirror_channel *c, const struct mirror_sync_opts *o, struct arena *a,
		struct mirror_sync_result *ret, struct err *e);
/* Keeps all channels up to date, scrubs and prunes, `parallelChannels` at once, until *stop: for a thread of the server's. Failures are
 * told to `progress` as notes, by several threads, and stand in the history. */
int mirror_tend(struct mirror *m, const atomic_bool *stop, struct progress *progress, struct err *e);

/* == 4. keeping house ============================================================================================= */
struct mirror_prune_result {
	uint64_t files, bytes; /* removed, or to be removed */
	uint64_t waiting;      /* named no longer, but within grace */
};
/* Removes what no metadata name any more and whose grace is over; unfinished downloads that nobody goes on with. */
int mirror_prune(struct mirror *m, const struct mirror_channel *c, bool dry_run, struct mirror_prune_result *ret,
		 struct err *e);
struct mirror_scrub_result {
	uint64_t files, bytes; /* read */
	uint64_t unknown;      /* without a known digest */
	const struct mirror_damage *damaged;
	size_t damaged_n;
};
/* Reads what was not read for older_ms again and compares digests. What is damaged goes to .slipway/quarantine at once, so that
 * nobody gets it, and is fetched again by the next request or sync. */
int mirror_scrub(struct mirror *m, const struct mirror_channel *c, int64_t older_ms, const atomic_bool *stop,
		 struct arena *a, struct mirror_scrub_result *ret, struct err *e);
/* Packages by specification NAME[=VERSION] or path, from one local channel (`from`, a tree) into another, by hard link
 * where the file system can; metadata are made there. Returns how many. */
struct mirror_promote {
	const struct str *specs;
	size_t specs_n;
	bool dry_run, replace;
	const struct channel_make_opts *make;
	struct progress *progress;
};
int mirror_promote(const struct channel_kind *k, const char *from, const char *to, const struct mirror_promote *o,
		   struct arena *a, struct mirror_list *ret, struct err *e);

/*
 * Channels that are signed as a whole (doc/formats/tuf.md): their pointers are the targets of a TUF repository in the tree, CHANNEL_SIGNED. After each
 * publication, and from time to time since what is signed expires:
 *
 *	mirror_sign(folder, &o, &arena, &done, e)	1: done.commit tells; 0: the channel is not signed
 *
 * Where keys of targets are elsewhere, done.waits: tuf/metadata/.staged holds what they have to sign (slipway tuf sign), clients that verify see the
 * state of before, and the next mirror_sign goes on.
 */
struct mirror_sign_opts {
	const struct channel_kind *kind;
	const int *keys_fd; /* folders of private keys */
	size_t keys_n;
	const struct tuf_passphrase *passphrase; /* NULL: keys that have one do not sign */
	const struct clock *clock;		 /* NULL: the system's */
	bool dry_run;
};
struct mirror_signed {
	struct tuf_commit commit;
	struct tuf_role_status *role;
	size_t role_n;
	bool waits;
};
int mirror_sign(const char *folder, const struct mirror_sign_opts *o, struct arena *a, struct mirror_signed *ret,
		struct err *e);
/* Makes the repository, with a new key for each role in the first folder. Who wants others makes it by `slipway tuf create`. */
int mirror_sign_create(const char *folder, const struct mirror_sign_opts *o, struct err *e);
bool mirror_is_signed(int tree_fd);
/* DIR/keys/tuf: the keys with which a mirror's server keeps its signed channels from expiring. */
#define MIRROR_KEYS "keys/tuf"

/* == 5. what is to be told ======================================================================================== */
enum mirror_health { MIRROR_WELL, MIRROR_PROBED, MIRROR_LEFT };
struct mirror_upstream_status {
	struct mirror_upstream upstream;
	enum mirror_health health;	   /* LEFT: until again_ms; PROBED: one request finds out */
	bool in_use;			   /* the next request goes there */
	int64_t again_ms, good_ms, bad_ms; /* 0: never */
	uint64_t failures;		   /* one after the other */
	double bytes_per_s;		   /* measured; 0: not yet */
	struct str error;		   /* the last one */
};
int mirror_upstreams(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
		     struct mirror_upstream_status **ret, size_t *ret_n, struct err *e);
/* Counts are of a channel that follows another one; of one's own mirror_channel_rows has them. */
struct mirror_channel_status {
	int64_t created_ms, synced_ms, tried_ms; /* 0: never */
	bool good;				 /* the last try was */
	struct str message;			 /* of the last try */
	uint64_t expected, expected_bytes, held, held_bytes, damaged;
};
int mirror_channel_status(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
			  struct mirror_channel_status *ret, struct err *e);
/* The same without its counts, which are read from one row for each package. */
int mirror_channel_dates(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
			 struct mirror_channel_status *ret, struct err *e);

/* Whether it tells of a package below that folder: 1, 0, -1. */
int mirror_channel_has(struct mirror_reader *r, const struct mirror_channel *c, struct str folder, struct err *e);

/* The lists behind the counts: each count of a status is the length of one. A row says why it is in one list and not in the other. */
enum mirror_rows {
	MIRROR_ROWS_TOLD,    /* what the channel tells of */
	MIRROR_ROWS_HELD,    /* of these, what is here */
	MIRROR_ROWS_MISSING, /* what is not */
	MIRROR_ROWS_DAMAGED, /* what could not be had, or was found damaged */
	MIRROR_ROWS_GONE,    /* here, but named no longer; in none of the others */
	MIRROR_ROWS_OFFERED, /* of what is told: what a client of that platform is offered as newest */
	MIRROR_ROWS_OTHERS,  /* what it is not */
	MIRROR_ROWS
};
const char *mirror_rows_name(enum mirror_rows which); /* "told" */
bool mirror_rows_find(struct str name, enum mirror_rows *ret);
struct mirror_rows_opts {
	enum mirror_rows which;
	struct str platform; /* as a client of ours says it ("linux-64"), or as the kind does ("amd64"); empty: any */
	uint64_t offset, max;
};
struct mirror_row {
	struct str path, name, version, platform; /* the last three empty where metadata do not say */
	uint64_t size;
	bool held;
	/* One of a few words, a colon, and more for people ("superseded: by 1.1"); empty: it is. Words: damaged, missing, on demand,
	 * historic, on its way; gone, not yet, platform, disabled, damaged, superseded. */
	struct str why_not_here, why_not_offered;
};
struct mirror_rows_result {
	uint64_t count[MIRROR_ROWS], bytes; /* of all lists; bytes of what is held */
	const struct mirror_row *v;	    /* by path */
	size_t n;
	struct str unread; /* why the channel's metadata could not be read; empty: they were */
};
/* Its members: path, name, version, platform, size, held, why_not_here, why_not_offered. */
void mirror_row_json(struct jw *w, const struct mirror_row *row);
/* Reads the channel's metadata: seconds for hundreds of thousands of packages, so never on a serving thread. */
int mirror_channel_rows(struct mirror_reader *r, const struct mirror_channel *c, const struct mirror_rows_opts *o,
			struct arena *a, struct mirror_rows_result *ret, struct err *e);

/* == 6. thin snapshots ============================================================================================= */
/*
 * What an environment consists of, in names, versions and channels, and nothing else. Clients store one
 * on the mirror before and after each operation; who supports them sees what runs there, and an exact second environment, or the
 * same one again after a disaster, is made of it. The text is doc/formats/snapshot.md; its grammar has no place for anything else.
 *
 *	mirror_snapshot_parse(&arena, text, "what", &s, e)	refuses what is none: hostile input
 *	mirror_snapshot_write(&s, &buf)			the one text that says this
 *	mirror_snapshot_compare(&old, &new, &arena, &v)	what was added, removed, changed
 *	mirror_snapshot_recipe(&s, &buf)			a recipe (doc/formats/spr.md) that asks for exactly these packages
 *
 * Stored (DIR/state/mirror.db), by client as its certificate calls it, never as a text does:
 *
 *	mirror_snapshots_open(path, &db, e)
 *	mirror_snapshots_put(db, client, text, now_ms, &id, e)
 *	mirror_snapshots_list(db, client, environment, max, &arena, &v, &n, e)
 *	mirror_snapshots_get(db, client, id, &arena, &text, e)
 *
 * A client has at most MIRROR_SNAPSHOTS_KEPT of each environment, and MIRROR_SNAPSHOT_ENVIRONMENTS environments, or less as mirror.yaml says; the oldest
 * ones make room. One that is
 * equal to the newest of its environment, taken at the same occasion, is not stored twice. ERR_INPUT: the text is no snapshot. ERR_LIMIT: more than may be.
 */
enum {
	MIRROR_SNAPSHOT_MAX = 8 << 20, /* bytes */
	MIRROR_SNAPSHOT_PACKAGES = 50000,
	MIRROR_SNAPSHOT_CHANNELS = 64,
	MIRROR_SNAPSHOT_ENVIRONMENTS = 256,
	MIRROR_SNAPSHOTS_KEPT = 1000,
};
enum mirror_snapshot_when { MIRROR_SNAPSHOT_NOW, MIRROR_SNAPSHOT_BEFORE, MIRROR_SNAPSHOT_AFTER };

struct mirror_snapshot_package {
	struct str name, version, build, subdir;
	uint32_t channel; /* place in channels */
};
struct mirror_snapshot {
	struct str environment;
	enum mirror_snapshot_when when;
	struct str operation;	    /* "update", "rollback"; STR_NONE with MIRROR_SNAPSHOT_NOW */
	const struct str *channels; /* URLs without credentials, best first */
	uint32_t channels_n;
	const struct mirror_snapshot_package *packages; /* by name */
	uint32_t packages_n;
};
int mirror_snapshot_parse(struct arena *a, struct str text, const char *where, struct mirror_snapshot *ret,
			  struct err *e);
/* Checks nothing: what it is given is its caller's own. Sorts by name. */
void mirror_snapshot_write(const struct mirror_snapshot *s, struct buf *b);
void mirror_snapshot_recipe(const struct mirror_snapshot *s, struct buf *b);
const char *mirror_snapshot_when_name(enum mirror_snapshot_when when);

struct mirror_snapshot_difference {
	const struct mirror_snapshot_package *old, *new; /* NULL: was not there; is there no more */
};
/* By name; returns how many. */
uint32_t mirror_snapshot_compare(const struct mirror_snapshot *old, const struct mirror_snapshot *new, struct arena *a,
				 struct mirror_snapshot_difference **ret);

struct mirror_snapshots;
int mirror_snapshots_open(const char *path, struct mirror_snapshots **ret, struct err *e);
/* What is kept; before it is called: MIRROR_SNAPSHOTS_KEPT of each environment. */
struct mirror_snapshot_limits {
	int64_t kept;	       /* of each environment of a client, at most MIRROR_SNAPSHOTS_KEPT */
	int64_t age_ms;	       /* 0: for ever */
	uint64_t client_bytes; /* of all of a client; 0: no limit */
};
void mirror_snapshots_limit(struct mirror_snapshots *s, const struct mirror_snapshot_limits *limits);
/* Those of mirror.yaml. */
void mirror_snapshots_configure(const struct mirror *m, struct mirror_snapshots *s);
void mirror_snapshots_free(struct mirror_snapshots *s);
DEFINE_AUTO(struct mirror_snapshots *, mirror_snapshots, mirror_snapshots_free);
struct mirror_snapshot_info {
	int64_t id, taken_ms;
	struct str client, environment, operation;
	enum mirror_snapshot_when when;
	uint32_t packages_n;
};
int mirror_snapshots_put(struct mirror_snapshots *s, struct str client, struct str text, int64_t now_ms,
			 int64_t *ret_id, struct err *e);
/* Newest first, at most `max`. client or environment STR_NONE: of all; who asks for a client must have given its name. */
int mirror_snapshots_list(struct mirror_snapshots *s, struct str client, struct str environment, int64_t max,
			  struct arena *a, struct mirror_snapshot_info **ret, size_t *ret_n, struct err *e);
/* The newest of a client that was stored by then. ERR_USAGE: it has several environments, and none is named. */
int mirror_snapshots_at(struct mirror_snapshots *s, struct str client, struct str environment, int64_t until_ms,
			int64_t *ret_id, struct err *e);
/* Removes what is over the limits, but never the newest of an environment. */
int mirror_snapshots_prune(struct mirror_snapshots *s, int64_t now_ms, bool dry_run, int64_t *ret_n, struct err *e);
/* All of a client: the next of its name shall not see them. */
int mirror_snapshots_forget(struct mirror_snapshots *s, struct str client, int64_t *ret_n, struct err *e);
/* ERR_NOT_FOUND where it is not this client's (STR_NONE: anybody's). */
int mirror_snapshots_get(struct mirror_snapshots *s, struct str client, int64_t id, struct arena *a,
			 struct str *ret_text, struct err *e);

/* == 7. who may come in =============================================================================================== */
/*
 * Enrolment: a machine comes with a one-time code and a request for a certificate, and gets a certificate. From then on what it may
 * have is a question of who it is. Wire formats and limits: doc/formats/mirror-api.md; why: doc/decisions/0062-pki.md.
 *
 * By `mirror init`, at each start and once a day (it renews the server's certificate when that is due, and else does nothing):
 *
 *	mirror_authority_keep(m, &clock_system, e)         1: DIR/pki/server.pem is new, have the server read it (httpd_reload)
 *
 * An HTTP server, which tells a client's certificate by the SHA-256 of its DER (NULL: it shows none), after TLS has held it against
 * DIR/pki/ca.pem:
 *
 *	mirror_clients_open(dir, &clock_system, &clients, e)
 *	mirror_enroll(clients, &call, &arena, &reply, e)      POST /enroll     reply.status, reply.body (JSON)
 *	mirror_renew(clients, &call, &arena, &reply, e)       POST /renew
 *	mirror_who(clients, fingerprint, &arena, &who, e)     1: who it is; 0: nobody, *e says why, for a 403; -1
 *	mirror_may(&who, MIRROR_GET, channel)                 for each request of a private channel
 *	mirror_may(&who, MIRROR_STORE_SNAPSHOT, owner)        its own and no other's
 *
 * enroll and renew always give a reply, also where they return -1 (status 500): *e is then for the log. One struct mirror_clients
 * serves all threads; any number of processes may have it open (`slipway mirror revoke` is one): who is revoked is refused from the next
 * mirror_who on. DIR/pki/crl.pem follows, for nginx.
 */
struct mirror_authority_opts {
	struct str name;	 /* of the mirror */
	const struct str *names; /* DNS names and addresses that it is reached by; the first is shown */
	size_t names_n;
	bool rsa;	    /* for clients that know no elliptic curves */
	bool unconstrained; /* without name constraints, for clients that do not understand them */
};
/* 1: the server's certificate is another one than before; 0. */
int mirror_authority_make(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			  struct err *e);
/* The same with the name and the host of mirror.yaml. */
int mirror_authority_keep(const struct mirror *m, const struct clock *clock, struct err *e);
struct mirror_authority_info {
	struct pki_cert_info authority, server;
	struct str bundle; /* DIR/pki/ca.pem: what everybody may have */
};
int mirror_authority_show(const char *dir, struct arena *arena, struct mirror_authority_info *ret, struct err *e);
/* A new authority: announced, so that clients take it in when they renew; then, when they have, it signs. Announcing again changes
 * nothing (0; else 1). ERR_NOT_FOUND where there is none to switch to. */
int mirror_authority_announce(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			      struct err *e);
int mirror_authority_switch(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			    struct err *e);
/* Whether a mirror of that name and host can have an authority: ERR_USAGE. */
int mirror_authority_check(struct str name, struct str host, struct err *e);
/* Either of the two, with the name and the host of mirror.yaml. */
int mirror_authority_change(const struct mirror *m, bool announce, const struct clock *clock, struct err *e);

struct mirror_clients;
int mirror_clients_open(const char *dir, const struct clock *clock, struct mirror_clients **ret, struct err *e);
void mirror_clients_free(struct mirror_clients *c);
DEFINE_AUTO(struct mirror_clients *, mirror_clients, mirror_clients_free);
/* Every hour or so: has the list of revoked ones made anew before it is over, which it is after a week. */
int mirror_clients_keep(struct mirror_clients *c, struct err *e);

enum { MIRROR_CODE_LIFE_S = 86400, MIRROR_CODE_TRIES = 5 };
struct mirror_code_opts {
	struct str
		name; /* what the machine will be called; empty: as it proposes. With the name of one that is enrolled: it may
			     come with another key, or on another machine */
	struct str group; /* empty: "default" */
	int64_t life_s;	  /* 0: MIRROR_CODE_LIFE_S */
};
struct mirror_code {
	struct str text; /* shown once; only its digest is kept */
	int64_t until_ms;
};
int mirror_code_new(struct mirror_clients *c, const struct mirror_code_opts *o, struct arena *a,
		    struct mirror_code *ret, struct err *e);

enum { MIRROR_CALL_MAX = 32 << 10 };
struct mirror_call {
	struct str body;    /* at most MIRROR_CALL_MAX bytes */
	struct str address; /* of the caller, without its port: too many tries from one are refused for a while */
	const uint8_t *certificate; /* SHA-256 of the client's; NULL: none */
};
struct mirror_reply {
	int status;	       /* of HTTP */
	struct str body;       /* application/json */
	int64_t retry_after_s; /* with 429, and 409 of a renewal that comes too early; 0: none */
	struct str client;     /* whom it is about, for the log; may be empty */
};
int mirror_enroll(struct mirror_clients *c, const struct mirror_call *call, struct arena *a, struct mirror_reply *ret,
		  struct err *e);
int mirror_renew(struct mirror_clients *c, const struct mirror_call *call, struct arena *a, struct mirror_reply *ret,
		 struct err *e);

struct mirror_who {
	struct str name, group;
	const struct str *patterns; /* of channels: its own, or where it has none, its group's */
	size_t patterns_n;
};
int mirror_who(struct mirror_clients *c, const uint8_t *fingerprint, struct arena *a, struct mirror_who *ret,
	       struct err *e);
enum mirror_act { MIRROR_GET, MIRROR_STORE_SNAPSHOT, MIRROR_READ_SNAPSHOT };
/* `what`: a channel's name, or whose snapshot it is. */
bool mirror_may(const struct mirror_who *who, enum mirror_act act, struct str what);

struct mirror_client {
	struct str name, machine, group, serial, fingerprint, reason; /* reason: of being revoked */
	int64_t enrolled_ms, renewed_ms, until_ms, revoked_ms;	      /* 0: never */
};
int mirror_client_list(struct mirror_clients *c, struct arena *a, struct mirror_client **ret, size_t *ret_n,
		       struct err *e);
/* ERR_NOT_FOUND where there is none of that name. To revoke again changes nothing. */
int mirror_client_revoke(struct mirror_clients *c, struct str name, struct str reason, struct err *e);
/* Its record and rights go, its certificates are refused, its name is free; what it stored is mirror_snapshots_forget's. ERR_NOT_FOUND. */
int mirror_client_remove(struct mirror_clients *c, struct str name, struct err *e);
/* What a group, or one client, may have: patterns of channels ('*' is any run of bytes), behind '!' what not. n 0: for a client its
 * group's again; for a group nothing. At first the group "default" has "*". */
enum mirror_holder { MIRROR_GROUP, MIRROR_CLIENT };
int mirror_rights_set(struct mirror_clients *c, enum mirror_holder holder, struct str name, const struct str *patterns,
		      size_t n, struct err *e);
struct mirror_rights {
	enum mirror_holder holder;
	struct str name;
	const struct str *patterns;
	size_t patterns_n;
};
/* What was said by mirror_rights_set and holds; clients first, by name. Whoever is not in it has nothing of its own. */
int mirror_rights_list(struct mirror_clients *c, struct arena *a, struct mirror_rights **ret, size_t *ret_n,
		       struct err *e);

/* == 8. from a client's side ======================================================================================= */
/*
 * What a host keeps of the mirrors that it is enrolled at: ROOT/mirror/HOST (doc/formats/mirror-api.md).
 *
 *	struct mirror_here here = {root_fd, root_path, &clock_system, &transfer_opts};
 *	mirror_enroll_here(&here, url, code, name, &arena, &m, e)
 *	mirror_enrolled_list(root_fd, root_path, &arena, &v, &n, e)
 *	m = mirror_enrolled_at(v, n, url_of_a_channel)             NULL: no mirror that this host is enrolled at
 *	if (m && mirror_enrolled_is_due(m, now_ms)) mirror_renew_here(&here, m, false, e)
 *	                                                           then m->ca_file and m->client_file into a struct transfer_trust
 *
 * The first connection is authenticated on both sides: the code holds the beginning of the authority's fingerprint, and nothing is
 * sent to a server that does not belong to it. ERR_VERIFY: it is another one, or the mirror refuses; its own words are in the message.
 */
struct mirror_here {
	int root_fd;
	const char *root_path;
	const struct clock *clock;
	const struct transfer_opts *transfer; /* NULL: the defaults */
};
struct mirror_enrolled {
	struct str id, url, origin; /* "mirror.customer.com:8443"; where its paths begin; "https://…" and the id */
	struct str name, group;	    /* what this host is called there */
	struct str issuer, serial;
	const char *ca_file, *client_file; /* the latter holds certificate and key */
	int64_t from_ms, until_ms;
};
/* name: empty, the host's own. To enroll again is good: the mirror keeps one record. */
int mirror_enroll_here(const struct mirror_here *h, struct str url, struct str code, struct str name, struct arena *a,
		       struct mirror_enrolled *ret, struct err *e);
int mirror_enrolled_list(int root_fd, const char *root_path, struct arena *a, struct mirror_enrolled **ret,
			 size_t *ret_n, struct err *e);
const struct mirror_enrolled *mirror_enrolled_at(const struct mirror_enrolled *v, size_t n, struct str url);
/* Two thirds of its certificate's life are over, and it can still be renewed. */
bool mirror_enrolled_is_due(const struct mirror_enrolled *m, int64_t now_ms);
/* 1: renewed; 0: it was not to be, or another command does it, or the last try failed less than an hour ago. */
int mirror_renew_here(const struct mirror_here *h, const struct mirror_enrolled *m, bool even_if_early, struct err *e);
/* Takes in authorities that those of before have announced, as when the mirror's certificate is refused all at once. 1: there are new
 * ones; 0. */
int mirror_learn_here(const struct mirror_here *h, const struct mirror_enrolled *m, struct err *e);
/* Forgets key and certificate; the mirror is not told. */
int mirror_leave_here(int root_fd, struct str id, struct err *e);

/* == 9. the server ================================================================================================= */
/*
 * Serves the mirror at `server.listen` (HTTPS) and tells of itself at `server.admin`, and keeps the channels up to date, until it
 * is told to stop: by SIGTERM, SIGINT, mirror_server_stop, or another process that took its place. SIGHUP: certificates are read again, log
 * files opened anew. Sockets that systemd passes (LISTEN_FDS) take the place of `server.listen`.
 *
 * ERR_BUSY: one runs already. With take_over the listening sockets are those of the server that runs, which goes on until this one accepts
 * connections, then answers what it was asked and ends: nobody is refused, no transfer is cut.
 */
struct mirror_serve_opts {
	bool foreground; /* lines go to standard error where the configuration leaves it open */
	bool take_over;
	/* Called when it accepts connections. */
	void (*ready)(void *ctx, unsigned port, unsigned admin_port);
	void *ctx;
	const struct clock *clock; /* NULL: the system's */
};
int mirror_serve(const char *dir, const struct mirror_serve_opts *o, struct err *e);
/* Of the server that runs: "status" appends a JSON object, "reload" reads certificates again, "succeed PROGRAM" has it start that program in its
 * own place, which is how it is taken over from where a service manager watches over it ("managed" in the status). ERR_NOT_FOUND: none does. */
int mirror_server_ask(const char *dir, const char *verb, struct buf *ret, struct err *e);
/* Returns when it has ended. */
int mirror_server_stop(const char *dir, int64_t wait_ms, struct err *e);

/* == 10. small channels ============================================================================================ */
/*
 * Of a large tree (deb, rpm, opam) what a list of specs needs, so that clients solve fast and find exactly what the large one would
 * have given them. Each line of the list is what one host wants at once; it is solved for each platform, as on a host that has
 * nothing yet. The small tree has every package of all these solutions, and of one more: of all lines together, where they can
 * be had together, so that a client that asks for any of the lines, or for several, finds a solution.
 *
 *	mirror_small_read(file, kind, &arena, &lines, &n, e)
 *	mirror_small(&opts, &arena, &result, e)
 *
 * Records are taken over as the large tree has them; files are linked, copied, or fetched (several at a time) where the large tree is one that
 * follows and does not hold them yet. Packages first, then metadata: who reads sees the old state or the new one, and a run that was cut off is
 * gone on with by the same call. What the small tree had before stays while the large one still lists it; with `prune` all goes
 * that is not in a solution, unless a line had none. At its end every line is solved again in what was made.
 */
struct mirror_small_line {
	struct str text;
	const struct str *asked;
	size_t n;
	size_t number; /* in the file */
};
/* Specs of a line stand behind each other or are parted by commas; '#' begins a comment. */
int mirror_small_read(const char *file, const struct channel_kind *k, struct arena *a, struct mirror_small_line **ret,
		      size_t *ret_n, struct err *e);

enum mirror_small_event {
	MIRROR_SMALL_CHECK,  /* platform: what is there is looked at */
	MIRROR_SMALL_LIST,   /* platform: its turn */
	MIRROR_SMALL_LINE,   /* platform, text: a line is solved */
	MIRROR_SMALL_NONE,   /* platform, text: it has no solution; why, n */
	MIRROR_SMALL_APART,  /* platform: the lines cannot be had together; why, n */
	MIRROR_SMALL_NEW,    /* platform, n: so many new packages */
	MIRROR_SMALL_FETCH,  /* text: a file is fetched, or would be */
	MIRROR_SMALL_PUT,    /* text: a package is put in */
	MIRROR_SMALL_REMOVE, /* text: it goes, or would */
	MIRROR_SMALL_UNLIKE, /* platform, text: the small tree answers the line otherwise */
};
struct mirror_small_told {
	enum mirror_small_event event;
	struct str platform, text;
	const struct str *why;
	size_t n;
};
struct mirror_small_opts {
	const struct channel_kind *kind;
	const char *from, *to; /* folders */
	struct mirror *m;      /* where `from` follows something: files are fetched through it; else NULL */
	const struct mirror_channel *channel; /* of m */
	const char *file;		      /* of the lines, for messages */
	const struct mirror_small_line *lines;
	size_t lines_n;
	struct mirror_list platforms;  /* none: this host's */
	struct mirror_list ocaml;      /* opam: a line that does not name ocaml is solved with each of these */
	struct mirror_list variables;  /* opam: as in struct channel_needs_opts */
	struct channel_walk_opts walk; /* suites, components, keyring of `from` */
	struct channel_make_opts make; /* signer, seal */
	bool strong;		       /* nothing that is only recommended */
	bool alone;		       /* not all lines together */
	bool prune, dry_run;
	void (*say)(void *ctx, const struct mirror_small_told *t); /* NULL: nothing is told */
	void *ctx;
	struct progress *progress; /* of what is fetched, by path, phase "download" */
};
struct mirror_small_solution {
	struct str text, platform;
	bool solved;
	size_t packages;
};
struct mirror_small_result {
	const struct mirror_small_solution *solutions;
	size_t solutions_n;
	size_t packages;		   /* that the lines need, in all */
	struct mirror_list added, removed; /* paths, or for opam "name.version"; sorted */
	size_t unsolved, apart, unlike;	   /* lines; platforms; lines */
	bool changed;
};
/* ERR_INPUT of a spec names file and line. */
int mirror_small(const struct mirror_small_opts *o, struct arena *a, struct mirror_small_result *ret, struct err *e);
