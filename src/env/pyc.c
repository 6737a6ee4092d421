// SPDX-License-Identifier: Apache-2.0
/*
 * Compiled Python modules of noarch packages: the environment's own interpreter compiles all of them in one go, a few
 * processes at most. What does not compile (templates, code for another version) is counted and otherwise left alone,
 * as is everything where the interpreter cannot run here at all.
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/work.h"
#include "env/layout.h"

enum { FILES_A_PROCESS = 64, PROCESSES_MAX = 16, OUT_MAX = 32 << 20, TAG_MAX = 64 };
enum { DEADLINE_BASE_MS = 60000, DEADLINE_FILE_MS = 250 };

/* Reads "<number> <path>" lines; says the tag of its compiled files (none: they stand beside the source), then the number
 * of each module that it compiled. Runs on Python 2.7 and everything later. */
static const char compiler[] = "import gc, os, py_compile, sys\n"
			       "gc.disable()\n"
			       "tag = getattr(getattr(sys, 'implementation', None), 'cache_tag', '')\n"
			       "if tag is None: sys.exit(0)\n"
			       "sys.stdout.write(tag + '\\n')\n"
			       "extra = {}\n"
			       "if hasattr(py_compile, 'PycInvalidationMode'):\n"
			       "    extra['invalidation_mode'] = py_compile.PycInvalidationMode.TIMESTAMP\n"
			       "for line in getattr(sys.stdin, 'buffer', sys.stdin):\n"
			       "    number, path = line.rstrip(b'\\n').split(b' ', 1)\n"
			       "    if not isinstance(path, str):\n"
			       "        number, path = number.decode(), os.fsdecode(path)\n"
			       "    try:\n"
			       "        py_compile.compile(os.path.join(sys.argv[1], path), doraise=True, **extra)\n"
			       "    except Exception:\n"
			       "        continue\n"
			       "    sys.stdout.write(number + '\\n')\n";

struct module {
	size_t pkg, entry;
	bool done;
};
struct batch {
	struct layer *layer;
	struct module *module; /* every step-th from first */
	size_t n, first, step;
	char tag[TAG_MAX];
	bool failed;
	struct err why;
};

static struct path_entry *entry_of(const struct layer *l, const struct module *m)
{
	return &l->pkg[m->pkg].entries.v[m->entry];
}

static bool tag_ok(struct str tag)
{
	for (size_t i = 0; i < tag.n; i++) {
		char c = tag.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '_'))
			return false;
	}
	return tag.n < TAG_MAX;
}

static void read_result(struct batch *b, struct str out)
{
	struct str line;
	uint64_t number;
	if (!str_take_line(&out, &line) || !tag_ok(line))
		return;
	memcpy(b->tag, line.p, line.n);
	while (str_take_line(&out, &line)) {
		if (str_to_u64(line, &number) && number < b->n && number % b->step == b->first)
			b->module[number].done = true;
	}
}

static int run_batch(void *ctx, struct err *e)
{
	struct batch *b = ctx;
	const struct layer *l = b->layer;
	auto_buf in = BUF_INIT(BUF_MAX), out = BUF_INIT(OUT_MAX), errors = BUF_INIT(4096);
	auto_free char *python = xasprintf("%s/%s", l->job->prefix, l->entry_point_python);
	/* isolated: neither variables, nor the working folder, nor the user's own modules count */
	const char *isolate = l->python.major >= 3 ? "-I" : "-Es";
	const char *const argv[] = {python, isolate, "-S", "-W", "ignore", "-c", compiler, l->job->prefix, NULL};
	const char *const envp[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", NULL};
	size_t count = 0;
	(void)e;
	for (size_t i = b->first; i < b->n; i += b->step, count++)
		buf_printf(&in, "%zu %s\n", i, entry_of(l, &b->module[i])->dest.p);
	struct proc_opts o = {
		.argv = argv,
		.envp = envp,
		.cwd = "/",
		.input = buf_str(&in),
		.out = &out,
		.errout = &errors,
		.deadline_ms = DEADLINE_BASE_MS + (int64_t)count * DEADLINE_FILE_MS,
	};
	int status = proc_run(&o, &b->why);
	if (status > 0)
		err_new(&b->why, ERR_FAILED, "it exits with %d: %.*s", status,
			STR_ARG(str_trim(str_head(buf_str(&errors), 400))));
	b->failed = status != 0;
	read_result(b, buf_str(&out));
	return 0; /* no modules are no error */
}

/* "a/b.py" → "a/__pycache__/b.<tag>.pyc", or "a/b.pyc" where there is no tag. */
static struct str compiled_path(struct arena *a, struct str path, const char *tag)
{
	ptrdiff_t slash = str_rfind(path, '/');
	struct str dir = str_head(path, (size_t)(slash + 1)), stem = str_skip(path, (size_t)(slash + 1));
	stem.n -= strlen(".py");
	if (!*tag)
		return str_c(arena_printf(a, "%.*s%.*s.pyc", STR_ARG(dir), STR_ARG(stem)));
	return str_c(arena_printf(a, "%.*s__pycache__/%.*s.%s.pyc", STR_ARG(dir), STR_ARG(stem), tag));
}

/* A package may bring the compiled module itself: then it stays. */
static bool is_shipped(const struct layer *l, struct str path)
{
	auto_arena a = ARENA_INIT;
	auto_free char *tag = xasprintf("cpython-%u%u", l->python.major, l->python.minor);
	return clobber_find(l->clobber, compiled_path(&a, path, l->python.major >= 3 ? tag : ""));
}

static size_t list_modules(const struct layer *l, struct arena *a, struct module **ret)
{
	size_t max = 0, n = 0;
	for (size_t i = 0; i < l->pkg_n; i++)
		max += l->pkg[i].noarch_python ? l->pkg[i].entries.n : 0;
	struct module *m = arena_array(a, struct module, max);
	for (size_t i = 0; i < l->pkg_n; i++) {
		for (size_t k = 0; l->pkg[i].noarch_python && k < l->pkg[i].entries.n; k++) {
			const struct path_entry *en = &l->pkg[i].entries.v[k];
			if (en->compile && !en->lost && !is_shipped(l, en->dest))
				m[n++] = (struct module){.pkg = i, .entry = k};
		}
	}
	*ret = m;
	return n;
}

static void add_compiled(struct layer *l, const struct module *m, const char *tag)
{
	struct link_pkg *p = &l->pkg[m->pkg];
	struct str path = compiled_path(&p->arena, entry_of(l, m)->dest, tag);
	if (clobber_find(l->clobber, path))
		return; /* overwritten, as its name says it may be */
	struct path_entry *en = vec_add(&p->entries);
	en->type = PATH_PYC;
	en->path = en->dest = path;
}

static void run_batches(struct batch *batch, size_t n)
{
	struct err unused = ERR_INIT;
	if (n == 1) {
		run_batch(&batch[0], &unused);
		return;
	}
	auto_ptr(work) w = work_new((unsigned)n);
	for (size_t i = 0; i < n; i++)
		work_submit(w, run_batch, &batch[i]);
	work_wait(w, &unused);
}

static size_t processes(const struct layer *l, size_t modules)
{
	long cpus = l->job->opts->threads ? (long)l->job->opts->threads : sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = cpus < 1 ? 1 : cpus > PROCESSES_MAX ? PROCESSES_MAX : (size_t)cpus;
	size_t useful = 1 + modules / FILES_A_PROCESS;
	return n < useful ? n : useful;
}

int pyc_compile(struct layer *l, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct batch batch[PROCESSES_MAX] = {0};
	struct module *module;
	(void)e;
	if (l->job->opts->no_pyc || !l->python.present)
		return 0;
	size_t n = list_modules(l, &a, &module), batches = processes(l, n);
	if (n == 0)
		return 0;
	if (faccessat(l->job->prefix_fd, l->entry_point_python, X_OK, 0) < 0) {
		l->report->not_compiled = n;
		layer_note(l, "Python modules are not compiled: package 'python' brings no '%s'",
			   l->entry_point_python);
		return 0;
	}
	for (size_t i = 0; i < batches; i++)
		batch[i] = (struct batch){.layer = l, .module = module, .n = n, .first = i, .step = batches};
	run_batches(batch, batches);
	for (size_t i = 0; i < n; i++) {
		l->report->compiled += module[i].done;
		l->report->not_compiled += !module[i].done;
		if (module[i].done)
			add_compiled(l, &module[i], batch[i % batches].tag);
	}
	for (size_t i = 0; i < batches; i++) {
		if (batch[i].failed) {
			layer_note(l, "some Python modules are not compiled and will start more slowly: '%s': %s",
				   l->entry_point_python, batch[i].why.msg);
			break;
		}
	}
	return 0;
}
