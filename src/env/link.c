// SPDX-License-Identifier: Apache-2.0
/* The lay-out as a whole; its steps are in layout.h. */
#include "env/link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/work.h"
#include "env/layout.h"

enum { CHUNK = 512, CHUNK_MIN = 128, LINK_HOPS_MAX = 16, SYNC_EARLY_MIN = 2000 };

static unsigned threads_of(const struct link_job *job)
{
	return job->opts->threads;
}

/* == reading ====================================================================================================== */
struct read_job {
	const struct link_job *job;
	struct link_pkg *pkg;
};

static int read_package(void *ctx, struct err *e)
{
	struct read_job *j = ctx;
	const struct pkg_record *r = &j->pkg->lock->record;
	if (!r->has_sha256)
		return err_new(e, ERR_INPUT, "package '%.*s' has no sha256, by which the store knows it",
			       STR_ARG(r->fn));
	auto_fd tree = store_tree_open(j->job->store, r->sha256, e);
	return tree < 0 ? -1 : paths_read(tree, j->pkg, e);
}

static int read_packages(struct layer *l, struct err *e)
{
	auto_ptr(work) w = work_new(threads_of(l->job));
	auto_arena a = ARENA_INIT;
	struct read_job *j = arena_array(&a, struct read_job, l->pkg_n);
	for (size_t i = 0; i < l->pkg_n; i++) {
		l->pkg[i].lock = &l->job->target->packages[i];
		j[i] = (struct read_job){.job = l->job, .pkg = &l->pkg[i]};
		work_submit(w, read_package, &j[i]);
	}
	return work_wait(w, e);
}

/* == planning ===================================================================================================== */
static const char *python_of(struct layer *l)
{
	const char *exact = arena_printf(l->arena, "bin/python%u.%u", l->python.major, l->python.minor);
	return clobber_find(l->clobber, str_c(exact)) ? exact : "bin/python";
}

static int plan(struct layer *l, struct err *e)
{
	if (python_find(l->pkg, l->pkg_n, l->arena, &l->python, e) < 0)
		return -1;
	for (size_t i = 0; i < l->pkg_n; i++) {
		if (noarch_map(&l->pkg[i], &l->python, e) < 0)
			return -1;
	}
	l->clobber = clobber_new(l->pkg, l->pkg_n, l->arena);
	if (clobber_plan(l->clobber, l->job->opts->clobber, e) < 0)
		return -1;
	l->entry_point_python = python_of(l);
	return 0;
}

static void report_clobbers(struct layer *l)
{
	size_t n, different = 0;
	const struct link_clobber *last = NULL;
	const struct link_clobber *c = clobber_list(l->clobber, &n);
	l->report->clobbers = arena_array(l->arena, struct link_clobber, n);
	l->report->clobbers_n = n;
	for (size_t i = 0; i < n; i++) {
		l->report->clobbers[i] = (struct link_clobber){
			.path = arena_str(l->arena, c[i].path),
			.winner = arena_str(l->arena, c[i].winner),
			.loser = arena_str(l->arena, c[i].loser),
			.same = c[i].same,
		};
		/* sorted by path: one that three packages bring counts once */
		bool again = !c[i].same && last && str_eq(last->path, c[i].path);
		different += !c[i].same && !again;
		last = c[i].same ? last : &c[i];
	}
	if (different > 0)
		layer_note(l, "%zu path%s brought by more than one package; the package linked last has %s", different,
			   different == 1 ? " is" : "s are", different == 1 ? "it" : "them");
}

/* == folders and files ============================================================================================ */
static int make_dir(int prefix_fd, const char *path, struct err *e)
{
	if (sys_mkdirat(prefix_fd, path, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "make folder '%s'", path);
	return 0;
}

static int make_folder(struct layer *l, const struct clobber_dir *dir, struct err *e)
{
	char path[4097];
	if (dir->path.n == 0)
		return 0; /* the prefix */
	memcpy(path, dir->path.p, dir->path.n);
	path[dir->path.n] = '\0';
	return make_dir(l->job->prefix_fd, path, e);
}

static int make_folders(struct layer *l, struct err *e)
{
	for (size_t i = 0; i < l->dir_n; i++) {
		if (make_folder(l, &l->dir[i], e) < 0)
			return -1;
	}
	return 0;
}

/* Of the folders [from, to) the files [first, last): whole folders, or a part of one. Two threads in one folder wait for each
 * other, except over the bytes of copies. */
struct chunk {
	struct layer *layer;
	size_t from, to, first, last;
};

static void count_chunk(struct layer *l, const struct place_count *c)
{
	struct link_report *r = l->report;
	pthread_mutex_lock(&l->mutex);
	r->files += c->files;
	r->bytes += c->bytes;
	r->linked += c->linked;
	r->copied += c->copied;
	r->patched += c->patched;
	l->files_done += c->files;
	progress_send(l->job->opts->progress, (struct progress_event){.kind = PROGRESS_UPDATE,
								      .phase = "link",
								      .id = l->job->prefix,
								      .done = l->files_done,
								      .total = l->files_total});
	pthread_mutex_unlock(&l->mutex);
}

static int place_chunk(void *ctx, struct err *e)
{
	const struct chunk *k = ctx;
	auto_placer p;
	if (placer_init(&p, k->layer, e) < 0)
		return -1;
	for (size_t i = k->from; i < k->to; i++) {
		const struct clobber_dir *dir = &k->layer->dir[i];
		if (place_folder(&p, dir, k->first, k->last < dir->n ? k->last : dir->n, e) < 0)
			return -1;
	}
	count_chunk(k->layer, &p.count);
	return 0;
}

struct dispatch {
	struct layer *layer;
	struct work *work;
	struct arena *arena;
	size_t jobs;
};

static void submit(struct dispatch *d, size_t from, size_t to, size_t first, size_t last)
{
	struct chunk *k = arena_new(d->arena, struct chunk);
	*k = (struct chunk){.layer = d->layer, .from = from, .to = to, .first = first, .last = last};
	work_submit(d->work, place_chunk, k);
	d->jobs++;
}

/* Small folders go together, large ones are cut where that helps; each as soon as its folders are made. */
static int submit_all(struct dispatch *d, struct err *e)
{
	struct layer *l = d->layer;
	size_t most = atomic_load(&l->how) == PLACE_HARD ? SIZE_MAX : CHUNK, from = 0, files = 0;
	for (size_t i = 0; i < l->dir_n; i++) {
		size_t n = l->dir[i].n;
		if (!l->folders_made && make_folder(l, &l->dir[i], e) < 0)
			return -1;
		files += n;
		if (n > most) {
			if (from < i)
				submit(d, from, i, 0, SIZE_MAX);
			for (size_t first = 0; first < n; first += most)
				submit(d, i, i + 1, first, first + most);
		} else if (files >= CHUNK_MIN) {
			submit(d, from, i + 1, 0, SIZE_MAX);
		} else {
			continue;
		}
		from = i + 1;
		files = 0;
	}
	if (from < l->dir_n)
		submit(d, from, l->dir_n, 0, SIZE_MAX);
	return 0;
}

/* What is written to disk while other files are still being placed need not be waited for in the end. */
static int sync_early(struct layer *l, struct err *e)
{
	if (l->files_total < SYNC_EARLY_MIN)
		return 0;
	return sys_syncfs(l->job->prefix_fd) < 0 ? err_sys(e, "sync '%s'", l->job->prefix) : 0;
}

/* What this thread does while the others place files. */
static int meanwhile(struct dispatch *d, struct err *e)
{
	const struct link_job *job = d->layer->job;
	if (submit_all(d, e) < 0 || (job->meanwhile && job->meanwhile(job->meanwhile_ctx, e) < 0))
		return -1;
	work_wait_for(d->work, d->jobs / 2);
	return sync_early(d->layer, e);
}

static int place_all(struct layer *l, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(work) w = work_new(threads_of(l->job));
	struct err mine = ERR_INIT;
	for (size_t i = 0; i < l->dir_n; i++)
		l->files_total += l->dir[i].n;
	progress_send(l->job->opts->progress,
		      (struct progress_event){
			      .kind = PROGRESS_BEGIN, .phase = "link", .id = l->job->prefix, .total = l->files_total});
	struct dispatch d = {.layer = l, .work = w, .arena = &a};
	int r = meanwhile(&d, &mine);
	if (work_wait(w, e) < 0)
		return -1;
	if (r < 0)
		*e = mine;
	return r;
}

/* The record of a link tells the digest of what it leads to, as conda checks it. */
static void digest_links(struct layer *l)
{
	auto_arena a = ARENA_INIT;
	for (size_t i = 0; i < l->pkg_n; i++) {
		vec_foreach(en, &l->pkg[i].entries) {
			const struct path_entry *at = en;
			for (int hops = 0; at && at->type == PATH_SOFT && hops < LINK_HOPS_MAX; hops++) {
				struct str to;
				at = link_target_resolve(at->dest, at->target, &a, &to) ? clobber_find(l->clobber, to)
											: NULL;
			}
			if (en->type != PATH_SOFT || en->lost || !at || !at->has_sha256_prefix)
				continue;
			memcpy(en->sha256_prefix, at->sha256_prefix, SHA256_SIZE);
			en->has_sha256_prefix = true;
		}
	}
}

/* == records ====================================================================================================== */
struct record_job {
	struct layer *layer;
	const struct link_pkg *pkg;
};

static int record_package(void *ctx, struct err *e)
{
	const struct record_job *j = ctx;
	return record_write(j->layer, j->pkg, e);
}

static int record_all(struct layer *l, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(work) w = work_new(threads_of(l->job));
	struct record_job *j = arena_array(&a, struct record_job, l->pkg_n);
	struct err mine = ERR_INIT;
	for (size_t i = 0; i < l->pkg_n; i++) {
		j[i] = (struct record_job){.layer = l, .pkg = &l->pkg[i]};
		work_submit(w, record_package, &j[i]);
	}
	int r = sync_early(l, &mine);
	if (work_wait(w, e) < 0)
		return -1;
	if (r < 0)
		*e = mine;
	return r < 0 ? -1 : record_history(l, e);
}

/* == all of it ==================================================================================================== */
static int probe(struct layer *l, struct err *e)
{
	if (l->pkg_n == 0 || l->job->opts->copy) {
		atomic_store(&l->how, PLACE_COPY);
		return 0;
	}
	auto_fd tree = store_tree_open(l->job->store, l->pkg[0].record.sha256, e);
	if (tree < 0 || place_probe(l, tree, e) < 0)
		return -1;
	if (scripts_will_run(l))
		place_without_links(l,
				    "link scripts are to run, which may write into any file: files are copied in place "
				    "of hard links, so that they cannot reach the store");
	return 0;
}

static int place(struct layer *l, struct err *e)
{
	auto_arena a = ARENA_INIT;
	l->dir_n = clobber_dirs(l->clobber, &a, &l->dir);
	if (scripts_will_run(l)) {
		if (make_folders(l, e) < 0)
			return -1;
		l->folders_made = true;
	}
	return scripts_run(l, SCRIPT_PRE_LINK, e) < 0 || place_all(l, e) < 0 ? -1 : 0;
}

static int lay_out(struct layer *l, struct err *e)
{
	if (read_packages(l, e) < 0 || plan(l, e) < 0)
		return -1;
	report_clobbers(l);
	if (make_dir(l->job->prefix_fd, "conda-meta", e) < 0 || probe(l, e) < 0 || record_state(l, e) < 0 ||
	    place(l, e) < 0)
		return -1;
	digest_links(l);
	if (pyc_compile(l, e) < 0 || scripts_run(l, SCRIPT_POST_LINK, e) < 0 || scripts_messages(l, e) < 0 ||
	    record_activation(l, e) < 0 || record_components(l, e) < 0)
		return -1;
	return record_all(l, e);
}

static void layer_clear(struct layer *l)
{
	for (size_t i = 0; i < l->pkg_n; i++)
		link_pkg_clear(&l->pkg[i]);
	clobber_free(l->clobber);
	pthread_mutex_destroy(&l->mutex);
}

int link_all(const struct link_job *job, struct arena *a, struct link_report *ret, struct err *e)
{
	struct link_report report = {0};
	size_t n = job->target->packages_n;
	auto_free struct link_pkg *pkg = xcalloc(n + 1, sizeof(*pkg));
	struct layer l = {.job = job,
			  .prefix = str_c(job->prefix),
			  .pkg = pkg,
			  .pkg_n = n,
			  .report = &report,
			  .arena = a,
			  .umask = place_umask(),
			  .mutex = PTHREAD_MUTEX_INITIALIZER};
	int r = lay_out(&l, e);
	progress_send(job->opts->progress, (struct progress_event){.kind = r < 0 ? PROGRESS_FAILED : PROGRESS_DONE,
								   .phase = "link",
								   .id = job->prefix,
								   .text = r < 0 ? e->msg : NULL,
								   .done = l.files_done,
								   .total = l.files_total});
	layer_clear(&l);
	if (r < 0)
		return err_ctx(e, "lay out '%s'", job->prefix);
	*ret = report;
	return 0;
}
