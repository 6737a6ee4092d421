// SPDX-License-Identifier: Apache-2.0
/* What a package holds, as its info/ says: CEP 34. Everything in it is hostile until checked. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "env/layout.h"

enum { SOFTLINK_MAX = 4096 };

/* what has_prefix means where it names no placeholder (CEP 34) */
#define DEFAULT_PLACEHOLDER STR("/opt/anaconda1anaconda2anaconda3")

void link_pkg_clear(struct link_pkg *p)
{
	vec_release(&p->entries);
	buf_release(&p->text);
	arena_release(&p->arena);
}

static bool is_or_is_under(struct str path, struct str dir)
{
	return str_starts(path, dir) && (path.n == dir.n || path.p[dir.n] == '/');
}

static int path_check(struct str path, struct err *e)
{
	if (!fs_path_is_inside(path))
		return err_new(e, ERR_INPUT, "path '%.*s' is not one inside the package", STR_ARG(path));
	if (is_or_is_under(path, STR("conda-meta")))
		return err_new(e, ERR_INPUT, "path '%.*s' is in conda-meta/, which belongs to the environment",
			       STR_ARG(path));
	if (str_starts(path, STR(".slipway")))
		return err_new(e, ERR_INPUT, "path '%.*s' has a name that is reserved", STR_ARG(path));
	return 0;
}

/* `path` is NUL-terminated and lives as long as p. */
static struct path_entry *entry_add(struct link_pkg *p, struct str path, struct err *e)
{
	if (p->entries.n >= PATHS_MAX) {
		err_new(e, ERR_LIMIT, "more than %d paths", PATHS_MAX);
		return NULL;
	}
	if (path_check(path, e) < 0)
		return NULL;
	struct path_entry *en = vec_add(&p->entries);
	en->path = en->dest = path;
	return en;
}

/* == info/paths.json ============================================================================================== */
static int placeholder_check(struct str placeholder, struct err *e)
{
	if (placeholder.n > PLACEHOLDER_MAX)
		return err_new(e, ERR_LIMIT, "prefix_placeholder of %zu bytes", placeholder.n);
	if (memchr(placeholder.p, '\0', placeholder.n))
		return err_new(e, ERR_INPUT, "prefix_placeholder holds a NUL");
	return 0;
}

static int type_parse(struct str text, enum path_type *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum path_type type;
	} types[] = {{"hardlink", PATH_HARD}, {"softlink", PATH_SOFT}, {"directory", PATH_DIR}};
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (str_eq_c(text, types[i].name)) {
			*ret = types[i].type;
			return 0;
		}
	}
	return err_new(e, ERR_UNSUPPORTED, "path_type '%.*s'", STR_ARG(text));
}

static int entry_fields(const struct json *j, struct path_entry *en, struct err *e)
{
	struct str type = STR("hardlink"), mode = STR("text"), placeholder = STR(""), sha = STR("");
	int64_t size = 0;
	int has_size;
	if (json_opt_str(j, "path_type", &type, e) < 0 || json_opt_str(j, "file_mode", &mode, e) < 0 ||
	    json_opt_str(j, "prefix_placeholder", &placeholder, e) < 0 || json_opt_str(j, "sha256", &sha, e) < 0 ||
	    json_opt_bool(j, "no_link", &en->no_link, e) < 0 || type_parse(type, &en->type, e) < 0 ||
	    placeholder_check(placeholder, e) < 0)
		return -1;
	has_size = json_opt_int(j, "size_in_bytes", &size, e);
	if (has_size < 0)
		return -1;
	if (size < 0)
		return err_new(e, ERR_INPUT, "size_in_bytes is negative");
	if (!str_eq_c(mode, "text") && !str_eq_c(mode, "binary"))
		return err_new(e, ERR_UNSUPPORTED, "file_mode '%.*s'", STR_ARG(mode));
	if (sha.n > 0 && !str_unhex(sha, en->sha256, SHA256_SIZE))
		return err_new(e, ERR_INPUT, "sha256 is not one");
	en->has_sha256 = sha.n > 0;
	en->has_size = has_size > 0;
	en->size = (uint64_t)size;
	en->binary = str_eq_c(mode, "binary");
	if (placeholder.n > 0 && en->type == PATH_HARD)
		en->placeholder = placeholder;
	return 0;
}

static int entry_parse(const struct json *j, struct link_pkg *p, struct err *e)
{
	struct str path;
	if (json_get_str(j, "_path", &path, e) < 0)
		return -1;
	if (path.n > 1 && path.p[path.n - 1] == '/')
		path = arena_str(&p->arena, str_head(path, path.n - 1)); /* a folder, as some builders write it */
	if (is_or_is_under(path, STR("info")) && fs_path_is_inside(path))
		return 0; /* metadata is not laid out */
	struct path_entry *en = entry_add(p, path, e);
	if (!en)
		return -1;
	if (entry_fields(j, en, e) < 0)
		return err_ctx(e, "path '%.*s'", STR_ARG(path));
	return 0;
}

/* The text lives as long as p, and holds the paths. */
static int parse_paths(struct link_pkg *p, char *text, size_t n, struct err *e)
{
	auto_arena scratch = ARENA_INIT;
	const struct json *j = json_parse_in_place(&scratch, &p->arena, text, n, "info/paths.json", e), *list;
	int64_t version = 1;
	if (!j)
		return -1;
	if (json_opt_int(j, "paths_version", &version, e) < 0 || json_opt_array(j, "paths", &list, e) < 0)
		return -1;
	if (!list)
		return err_new(e, ERR_INPUT, "info/paths.json: no list 'paths'");
	if (version != 1)
		return err_new(e, ERR_UNSUPPORTED, "info/paths.json: paths_version %lld", (long long)version);
	if (list->n > PATHS_MAX)
		return err_new(e, ERR_LIMIT, "info/paths.json: more than %d paths", PATHS_MAX);
	vec_reserve(&p->entries, list->n);
	for (uint32_t i = 0; i < list->n; i++) {
		if (entry_parse(&list->item[i], p, e) < 0)
			return err_ctx(e, "info/paths.json");
	}
	return 0;
}

int paths_parse_json(struct str text, struct link_pkg *p, struct err *e)
{
	return parse_paths(p, arena_strdup(&p->arena, text), text.n, e);
}

/* == packages from before paths.json ============================================================================== */
static struct path_entry *entry_by_path(struct link_pkg *p, struct map *by_path, struct str path)
{
	uint64_t *at = map_get(by_path, path);
	return at ? &p->entries.v[*at] : NULL;
}

static void map_entries(struct link_pkg *p, struct map *by_path)
{
	for (size_t i = 0; i < p->entries.n; i++)
		*map_put(by_path, p->entries.v[i].path) = i;
}

/* A word of a has_prefix line; one that holds spaces stands in quotes. */
static bool take_quoted(struct str *line, struct str *ret)
{
	*line = str_trim(*line);
	if (line->n > 0 && (*line->p == '"' || *line->p == '\'')) {
		char quote = *line->p;
		*line = str_skip(*line, 1);
		return str_take_until(line, quote, ret);
	}
	return str_take_word(line, ret);
}

int paths_parse_has_prefix(struct str text, struct link_pkg *p, struct err *e)
{
	auto_map by_path = MAP_INIT;
	struct str line;
	map_entries(p, &by_path);
	for (unsigned number = 1; str_take_line(&text, &line); number++) {
		struct str rest = line, placeholder, mode, path = str_trim(line);
		bool binary = false;
		if (path.n == 0)
			continue;
		if (take_quoted(&rest, &placeholder) && take_quoted(&rest, &mode) &&
		    (str_eq_c(mode, "text") || str_eq_c(mode, "binary")) && take_quoted(&rest, &path)) {
			binary = str_eq_c(mode, "binary");
			if (placeholder_check(placeholder, e) < 0)
				return err_ctx(e, "info/has_prefix: line %u", number);
		} else {
			placeholder = DEFAULT_PLACEHOLDER;
		}
		struct path_entry *en = entry_by_path(p, &by_path, path);
		if (!en || en->type != PATH_HARD)
			continue; /* not installed, or a link: its target has a line of its own */
		en->placeholder = arena_str(&p->arena, placeholder);
		en->binary = binary;
	}
	return 0;
}

static void parse_no_link(struct str text, struct link_pkg *p)
{
	auto_map by_path = MAP_INIT;
	struct str line;
	map_entries(p, &by_path);
	while (str_take_line(&text, &line)) {
		struct path_entry *en = entry_by_path(p, &by_path, str_trim(line));
		if (en)
			en->no_link = true;
	}
}

static int parse_files(struct str text, struct link_pkg *p, struct err *e)
{
	struct str line;
	for (unsigned number = 1; str_take_line(&text, &line); number++) {
		struct str path = str_trim(line);
		if (path.n == 0 || is_or_is_under(path, STR("info")))
			continue;
		if (!entry_add(p, arena_str(&p->arena, path), e))
			return err_ctx(e, "info/files: line %u", number);
	}
	return 0;
}

static int add_found(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)dirfd, (void)name;
	struct str path = str_c(rel);
	if (is_or_is_under(path, STR("info")) || str_starts(path, STR(".slipway-tree")) || S_ISDIR(st->st_mode))
		return 0;
	struct link_pkg *p = ctx;
	return entry_add(p, arena_str(&p->arena, path), e) ? 0 : -1;
}

/* The kind of each path, which the old files do not tell. */
static int stat_entries(int tree_fd, struct link_pkg *p, struct err *e)
{
	vec_foreach(en, &p->entries) {
		struct stat st;
		if (fstatat(tree_fd, en->path.p, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "listed file '%s'", en->path.p);
		en->type = S_ISLNK(st.st_mode) ? PATH_SOFT : S_ISDIR(st.st_mode) ? PATH_DIR : PATH_HARD;
		en->has_size = en->type == PATH_HARD;
		en->size = (uint64_t)st.st_size;
	}
	return 0;
}

/* 1 where the file is there, 0 where not. */
static int read_info(int tree_fd, const char *path, struct buf *b, struct err *e)
{
	struct err mine = ERR_INIT;
	buf_clear(b);
	if (fs_read(tree_fd, path, b, &mine) == 0)
		return 1;
	if (mine.code == ERR_NOT_FOUND)
		return 0;
	*e = mine;
	return -1;
}

static int read_old(int tree_fd, struct link_pkg *p, struct err *e)
{
	auto_buf text = BUF_INIT(INFO_FILE_MAX);
	int r = read_info(tree_fd, "info/files", &text, e);
	if (r < 0)
		return -1;
	if (r > 0 ? parse_files(buf_str(&text), p, e) < 0 : fs_walk(tree_fd, ".", add_found, p, e) < 0)
		return -1;
	if (stat_entries(tree_fd, p, e) < 0)
		return -1;
	r = read_info(tree_fd, "info/has_prefix", &text, e);
	if (r < 0 || (r > 0 && paths_parse_has_prefix(buf_str(&text), p, e) < 0))
		return -1;
	r = read_info(tree_fd, "info/no_link", &text, e);
	if (r > 0)
		parse_no_link(buf_str(&text), p);
	return r < 0 ? -1 : 0;
}

/* == info/link.json =============================================================================================== */
static int read_link_json(int tree_fd, struct link_pkg *p, struct err *e)
{
	auto_buf text = BUF_INIT(INFO_FILE_MAX);
	auto_arena scratch = ARENA_INIT;
	const struct json *noarch, *list;
	struct str type = STR("");
	int r = read_info(tree_fd, "info/link.json", &text, e);
	if (r <= 0)
		return r;
	const struct json *j = json_parse(&scratch, buf_str(&text), "info/link.json", e);
	if (!j || json_opt_object(j, "noarch", &noarch, e) < 0)
		return -1;
	if (!noarch)
		return 0;
	if (json_opt_str(noarch, "type", &type, e) < 0 || json_opt_array(noarch, "entry_points", &list, e) < 0)
		return -1;
	if (p->record.noarch.n == 0 && (str_eq_c(type, "python") || str_eq_c(type, "generic")))
		p->record.noarch = arena_str(&p->arena, type);
	if (!list)
		return 0;
	p->entry_points = arena_array(&p->arena, struct str, list->n);
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "info/link.json: an entry point is not a string");
		p->entry_points[p->entry_points_n++] = arena_str(&p->arena, list->item[i].string);
	}
	return 0;
}

/* == all of it ==================================================================================================== */
static int read_softlink(int tree_fd, struct link_pkg *p, struct path_entry *en, struct err *e)
{
	char target[SOFTLINK_MAX + 1];
	ssize_t n = readlinkat(tree_fd, en->path.p, target, sizeof(target));
	if (n < 0 && errno == EINVAL) {
		/* packed on a system without symbolic links: a file, and not always what the link led to */
		en->type = PATH_HARD;
		en->has_sha256 = en->has_size = false;
		return 0;
	}
	if (n < 0)
		return err_sys(e, "listed link '%s'", en->path.p);
	if (n == 0 || n > SOFTLINK_MAX)
		return err_new(e, ERR_LIMIT, "link '%s' has a target of %zd bytes", en->path.p, n);
	en->target = arena_str(&p->arena, str_of(target, (size_t)n));
	return 0;
}

/* == the tree's listing =========================================================================================== */
static int compare_path(const void *key, const void *file)
{
	return str_cmp(*(const struct str *)key, ((const struct store_tree_file *)file)->path);
}

/* Paths mostly come in the listing's order: *next is where the last one was found. */
static const struct store_tree_file *find_file(const struct store_tree_file *list, size_t n, struct str path,
					       size_t *next)
{
	const struct store_tree_file *f;
	if (*next < n && str_eq(list[*next].path, path))
		return &list[(*next)++];
	f = n ? bsearch(&path, list, n, sizeof(*list), compare_path) : NULL;
	if (f)
		*next = (size_t)(f - list) + 1;
	return f;
}

/* What was unpacked: modes, which paths.json does not tell, and sizes, which it must tell rightly. A listed symbolic link
 * has the size of what it led to, and a path that is not there is the lay-out's to complain of. */
static int read_listing(int tree_fd, struct link_pkg *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct store_tree_file *list;
	struct err mine = ERR_INIT;
	size_t n, next = 0;
	if (store_tree_files(tree_fd, &a, &list, &n, &mine) < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	vec_foreach(en, &p->entries) {
		const struct store_tree_file *f = en->type == PATH_HARD ? find_file(list, n, en->path, &next) : NULL;
		if (!f)
			continue;
		if (en->has_size && en->size != f->size)
			return err_new(e, ERR_VERIFY,
				       "info/paths.json says that '%.*s' has %llu bytes, but it has %llu: the package "
				       "contradicts itself; tell its maker, and use another build",
				       STR_ARG(en->path), (unsigned long long)en->size, (unsigned long long)f->size);
		en->exec = f->exec;
	}
	p->has_modes = true;
	return 0;
}

static int read_tree(int tree_fd, struct link_pkg *p, struct err *e)
{
	p->text = BUF_INIT(PATHS_JSON_MAX);
	int r = read_info(tree_fd, "info/paths.json", &p->text, e);
	if (r < 0 || (r > 0 ? parse_paths(p, p->text.p, p->text.n, e) < 0 : read_old(tree_fd, p, e) < 0))
		return -1;
	vec_foreach(en, &p->entries) {
		if (en->type == PATH_SOFT && read_softlink(tree_fd, p, en, e) < 0)
			return -1;
	}
	return read_listing(tree_fd, p, e) < 0 ? -1 : read_link_json(tree_fd, p, e);
}

int paths_read(int tree_fd, struct link_pkg *p, struct err *e)
{
	p->record = p->lock->record;
	if (read_tree(tree_fd, p, e) < 0)
		return err_ctx(e, "package '%.*s'", STR_ARG(p->record.fn));
	p->noarch_python = str_eq_c(p->record.noarch, "python");
	return 0;
}
