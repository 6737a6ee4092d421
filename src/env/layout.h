// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * layout (private to env): the parts that link_all is made of.
 *
 *	paths.c    what a package holds, read from its tree's info/
 *	noarch.c   where a noarch Python package's files go; entry points
 *	clobber.c  one table of all destinations: folders to make, paths that several packages bring
 *	place.c    one file into the prefix: link, copy, patch
 *	prefix.c   the patching: placeholder → prefix in text and binary content
 *	scripts.c  pre-link and post-link scripts
 *	pyc.c      compiled Python modules
 *	record.c   conda-meta/: a record for each package, history, state
 *	history.c  what the history says
 *
 * The order of a lay-out: read every package (threads), plan every destination (one thread, so that the outcome does
 * not depend on timing), make the folders, place the files (threads), compile, run scripts, write records (threads).
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/vec.h"
#include "env/link.h"

/* == what a package holds ========================================================================================= */
enum path_type { PATH_HARD, PATH_SOFT, PATH_DIR, PATH_PYC, PATH_ENTRY_POINT };

struct path_entry {
	struct str path;	/* in the package; of what is generated: in the prefix */
	struct str dest;	/* in the prefix, symbolic links of other packages resolved */
	struct str placeholder; /* empty: nothing to replace */
	struct str target;	/* PATH_SOFT: where it points. PATH_ENTRY_POINT: "module:function" */
	uint64_t size;
	uint8_t sha256[SHA256_SIZE], sha256_prefix[SHA256_SIZE];
	enum path_type type;
	bool binary, no_link;
	bool has_sha256, has_sha256_prefix, has_size;
	bool exec;    /* mode 0755, else 0644; where the package's modes are known */
	bool lost;    /* another package's file, or a file of its own that replaces it, has the path */
	bool compile; /* a module that is to be compiled */
};
VEC_TYPE(path_entry_vec, struct path_entry);

/* One package of the job. Its arena is its own, so that packages may be read by several threads. */
struct link_pkg {
	const struct env_lock_package *lock;
	struct pkg_record record; /* the lock's; `noarch` from info/link.json where the lock knows none */
	struct arena arena;
	struct buf text; /* paths.json; most paths are views into it */
	struct path_entry_vec entries;
	struct str *entry_points;
	uint32_t entry_points_n;
	bool noarch_python;
	bool has_modes; /* the entries' `exec` is known */
};
void link_pkg_clear(struct link_pkg *p);

enum { PATHS_JSON_MAX = 256 << 20, INFO_FILE_MAX = 16 << 20, PATHS_MAX = 2000000, PLACEHOLDER_MAX = 4096 };

/* Reads info/paths.json, or info/files, has_prefix and no_link, or the tree itself; and info/link.json.
 * p->lock is set. Everything is checked: types, sizes, digests, that no path leaves the package or is conda-meta/, and
 * that what is said of a file's size is what the package holds (ERR_VERIFY). */
int paths_read(int tree_fd, struct link_pkg *p, struct err *e);
/* The parser alone, for tests and the fuzzer: `text` is a paths.json. */
int paths_parse_json(struct str text, struct link_pkg *p, struct err *e);
int paths_parse_has_prefix(struct str text, struct link_pkg *p, struct err *e);

/* == noarch Python ================================================================================================ */
struct python_info {
	bool present;
	unsigned major, minor;
	struct str site_packages; /* "lib/python3.12/site-packages" */
};
/* Looks for the package 'python' among n. A python_site_packages_path that leaves the prefix is ERR_INPUT. */
int python_find(const struct link_pkg *p, size_t n, struct arena *a, struct python_info *ret, struct err *e);
/* Sets dest of every entry (for all packages), adds entry points as entries, marks what is to be compiled. */
int noarch_map(struct link_pkg *p, const struct python_info *py, struct err *e);
/* The script's text. `python` is relative to the prefix. */
void entry_point_text(struct str target, const char *prefix, const char *python, struct buf *b);

/* == the table of destinations ==================================================================================== */
struct clobber_table;
struct clobber_table *clobber_new(struct link_pkg *p, size_t n, struct arena *a);
void clobber_free(struct clobber_table *t);
DEFINE_AUTO(struct clobber_table *, clobber, clobber_free);
/* Decides who has each path. Afterwards every entry's dest is final and `lost` is set where another one won. */
int clobber_plan(struct clobber_table *t, enum env_clobber mode, struct err *e);
/* The folders to make, parents first; the prefix itself ("") comes first of all. Each with the files that come to lie in it,
 * those of one package together, in its order. */
struct clobber_file {
	uint32_t pkg, entry;
};
struct clobber_dir {
	struct str path; /* a view into a longer one: not terminated */
	const struct clobber_file *file;
	size_t n;
};
size_t clobber_dirs(const struct clobber_table *t, struct arena *a, struct clobber_dir **ret);
/* The entry that has a path, or NULL. */
struct path_entry *clobber_find(const struct clobber_table *t, struct str path);
const struct link_clobber *clobber_list(const struct clobber_table *t, size_t *ret_n);
/* dirname(dest)/target without "." and ".."; false where it is absolute or leaves the prefix. */
bool link_target_resolve(struct str dest, struct str target, struct arena *a, struct str *ret);

/* == patching ===================================================================================================== */
enum { SHEBANG_MAX = 127 }; /* bytes of a first line that every supported kernel reads, "#!" included */

/* Bytes out: to a file, a digest, a buffer. Returns -1 with *e filled. */
typedef int prefix_sink_fn(void *ctx, const void *p, size_t n, struct err *e);
/* Every occurrence of the placeholder becomes the prefix; a first line that the kernel could not read is rewritten. */
int prefix_text(struct str in, struct str placeholder, struct str prefix, prefix_sink_fn *sink, void *ctx,
		struct err *e);
/* In each NUL-terminated string; the string is filled up with NULs, so that nothing moves. A prefix longer than the
 * placeholder is ERR_INPUT, with the longest that would do. */
int prefix_binary(struct str in, struct str placeholder, struct str prefix, prefix_sink_fn *sink, void *ctx,
		  struct err *e);
/* "#!<interpreter><args>\n", or a line (for Python: two languages at once) that does the same where the kernel would
 * cut the line or split it at a space. */
void prefix_shebang(struct str interpreter, struct str args, struct buf *b);

/* == placing ====================================================================================================== */
enum place_how { PLACE_REFLINK, PLACE_HARD, PLACE_COPY };
struct layer { /* shared by the threads of one link_all */
	const struct link_job *job;
	struct str prefix;
	struct link_pkg *pkg;
	size_t pkg_n;
	struct python_info python;
	struct clobber_table *clobber;
	struct clobber_dir *dir; /* while files are placed */
	size_t dir_n;
	bool folders_made;
	const char *entry_point_python; /* "bin/python3.12" */
	mode_t umask;
	atomic_int how;		    /* enum place_how; only ever falls */
	struct link_report *report; /* counters: under the mutex */
	struct arena *arena;	    /* the caller's; one thread at a time */
	pthread_mutex_t mutex;
	uint64_t files_done, files_total; /* under the mutex */
};
/* Bits that may be missing from what is created. */
mode_t place_umask(void);
/* Finds out once which kind of link the file systems allow. `tree_fd`: any package's tree. */
int place_probe(struct layer *l, int tree_fd, struct err *e);
/* From now on what would be a hard link is a copy; `why` is for the report. */
void place_without_links(struct layer *l, const char *why);
struct place_count {
	uint64_t files, bytes, linked, copied, patched;
};
/* What one thread has at hand. Folders stay open from one file to the next, so that the kernel does not walk the same path for
 * each, and every placer opens its own: threads that use one descriptor fight over its reference count. */
struct placer {
	struct layer *layer;
	struct place_count count;
	size_t pkg;	/* whose tree is open; SIZE_MAX: none */
	struct str dir; /* the package's folder that dir_fd is */
	int prefix_fd, to_dir_fd, tree_fd, dir_fd;
	char *in, *out;	    /* buffers of files that are patched */
	int from_fd, to_fd; /* the file at hand: in the store, in the prefix */
	const char *from, *to;
};
int placer_init(struct placer *p, struct layer *l, struct err *e);
void placer_release(struct placer *p);
#define auto_placer cleanup_with(placer_release) struct placer
/* Files [from, to) of a folder that is there already. */
int place_folder(struct placer *p, const struct clobber_dir *dir, size_t from, size_t to, struct err *e);
/* A line for a person, through job->opts->progress. Any thread. */
void layer_note(struct layer *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* == afterwards =================================================================================================== */
/* Compiles what is marked; adds what came of it to the entries. Fails only where the prefix cannot be read. */
int pyc_compile(struct layer *l, struct err *e);

/* Lists the scripts in report->scripts; runs those of `when` where they are allowed. */
enum script_when { SCRIPT_PRE_LINK, SCRIPT_POST_LINK };
bool scripts_will_run(const struct layer *l);
int scripts_run(struct layer *l, enum script_when when, struct err *e);
/* .messages.txt into report->messages; the file goes. */
int scripts_messages(struct layer *l, struct err *e);

int record_write(struct layer *l, const struct link_pkg *p, struct err *e);
int record_history(struct layer *l, struct err *e);
void history_text(const struct layer *l, struct buf *b);
/* conda-meta/slipway-activate.sh, which wrappers source. */
int record_activation(struct layer *l, struct err *e);
int record_state(struct layer *l, struct err *e);
#define COMPONENT_DIR "share/slipway/component"
/* The recipe's own component files; a package's of the same name is an error. */
int record_components(struct layer *l, struct err *e);
