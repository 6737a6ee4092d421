// SPDX-License-Identifier: Apache-2.0
/*
 * Enrolment from a host's side: ROOT/mirror/HOST holds the authority, the key with its certificate, and what this host is called there.
 *
 *	ca.pem        whom to believe: what the code named, and what that announced since
 *	client.pem    certificate and private key in one file, so that both change in one rename. While it is there, this host is enrolled
 *	mirror.json   URL, name, group
 *	pending.key   of a request that is under way, so that asking again is asking for the same
 *	pending.ca    the authority that such a request believes
 *	tried         when a renewal failed last
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "base/vec.h"
#include "mirror/code.h"
#include "mirror/mirror.h"

enum {
	FORMAT = 1,
	FILE_MAX = 64 << 10,
	REPLY_MAX = PKI_BUNDLE_MAX * 4,
	MIRRORS_MAX = 256,
	AGAIN_MS = 3600000,
	LOCK_MS = 30000
};

/* -- where it is --------------------------------------------------------------------------------------------------- */

/* "https://Mirror.Customer.com:443/x/" → id "mirror.customer.com", url "https://mirror.customer.com/x". */
static int parse_url(struct str text, struct arena *a, struct str *ret_id, struct str *ret_url, struct err *e)
{
	struct str rest = str_trim(text), host, port, path;
	bool is_address;
	if (rest.n < 8 || str_casecmp(str_head(rest, 8), STR("https://")) != 0)
		return err_new(e, ERR_USAGE, "'%.*s' is no mirror: its URL begins with https://",
			       STR_ARG(str_head(text, 200)));
	rest = str_skip(rest, 8);
	size_t n = 0;
	while (n < rest.n && rest.p[n] != '/')
		n++;
	path = str_skip(rest, n);
	rest = str_head(rest, n);
	while (str_ends(path, STR("/")))
		path.n--;
	bool six = str_take_char(&rest, '[');
	if (six ? !str_take_until(&rest, ']', &host) : false)
		return err_new(e, ERR_USAGE, "'%.*s': an IPv6 address ends with ']'", STR_ARG(str_head(text, 200)));
	if (!six) {
		ptrdiff_t at = str_find(rest, ':');
		host = at < 0 ? rest : str_head(rest, (size_t)at);
		rest = str_skip(rest, host.n);
	}
	uint64_t number = 443;
	if (str_take_char(&rest, ':')) {
		port = rest;
		rest = STR_NONE;
		if (!str_to_u64(port, &number) || !number || number > 65535)
			return err_new(e, ERR_USAGE, "'%.*s': a port is a number up to 65535",
				       STR_ARG(str_head(text, 200)));
	}
	if (rest.n || pki_host_check(host, &is_address, e) < 0)
		return rest.n ? err_new(e, ERR_USAGE, "'%.*s' is no URL of a mirror", STR_ARG(str_head(text, 200)))
			      : -1;
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] <= ' ' || path.p[i] > '~' || path.p[i] == '?' || path.p[i] == '#')
			return err_new(e, ERR_USAGE, "'%.*s' is no URL of a mirror", STR_ARG(str_head(text, 200)));
	char *low = arena_strdup(a, host);
	for (char *p = low; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	auto_buf at_port = BUF_INIT(16);
	if (number != 443)
		buf_printf(&at_port, ":%u", (unsigned)number);
	*ret_id = str_c(arena_printf(a, "%s%s%s%s", six ? "[" : "", low, six ? "]" : "", at_port.p));
	*ret_url = str_c(arena_printf(a, "https://%s%.*s", ret_id->p, STR_ARG(path)));
	return 0;
}

/* Below ROOT. '_', which no host name has, in place of ':', which parts words in options of many programs. */
static char *folder_of(struct str id)
{
	char *path = xasprintf("mirror/%.*s", STR_ARG(id));
	for (char *p = path; *p; p++)
		if (*p == ':')
			*p = '_';
	return path;
}

static int open_folder(int root_fd, struct str id, bool make, struct err *e)
{
	auto_free char *path = folder_of(id);
	return make ? fs_open_dir_make(root_fd, path, e) : fs_open_dir(root_fd, path, e);
}

static int lock(int root_fd, int64_t wait_ms, struct err *e)
{
	if (fs_mkdirs(root_fd, "mirror", 0755, e) < 0)
		return -1;
	int fd = fs_lock(root_fd, "mirror/lock", wait_ms, e);
	return fd < 0 ? err_ctx(e, "another command enrolls this host") : fd;
}

static int read_text(int dir_fd, const char *name, struct arena *a, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX);
	if (fs_read(dir_fd, name, &b, e) < 0)
		return -1;
	*ret = arena_str(a, buf_str(&b));
	return 0;
}

static int put(int dir_fd, const char *name, struct str text, bool secret, struct err *e)
{
	return fs_replace(dir_fd, name, text.p, text.n, FS_REPLACE_SYNC | (secret ? FS_REPLACE_SECRET : 0), e);
}

static int drop(int dir_fd, const char *name, struct err *e)
{
	return sys_unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? err_sys(e, "remove '%s'", name) : 0;
}

/* -- what there is ------------------------------------------------------------------------------------------------- */

/* `folder` as folder_of has it, or a mirror's id. */
static int read_one(int root_fd, const char *root_path, struct str folder, struct arena *a, struct mirror_enrolled *ret,
		    struct err *e)
{
	struct str text, pem, normal;
	struct pki_cert_info i;
	int64_t format;
	auto_ptr(pki_cert) cert = NULL;
	auto_free char *path = folder_of(folder);
	auto_fd dir_fd = open_folder(root_fd, folder, false, e);
	if (dir_fd < 0 || read_text(dir_fd, "client.pem", a, &pem, e) < 0 ||
	    read_text(dir_fd, "mirror.json", a, &text, e) < 0)
		return -1;
	const struct json *j = json_parse(a, text, "mirror.json", e);
	if (!j || json_get_int(j, "format", &format, e) < 0)
		return -1;
	if (format != FORMAT)
		return err_new(e, ERR_UNSUPPORTED, "mirror.json has format %lld, not %d; use the slipway that wrote it",
			       (long long)format, FORMAT);
	*ret = (struct mirror_enrolled){0};
	if (json_get_str(j, "url", &ret->url, e) < 0 || parse_url(ret->url, a, &ret->id, &normal, e) < 0 ||
	    json_get_str(j, "name", &ret->name, e) < 0 || json_get_str(j, "group", &ret->group, e) < 0 ||
	    pki_cert_read(pem, "client.pem", &cert, e) < 0 || pki_cert_info(cert, a, &i, e) < 0)
		return -1;
	ret->from_ms = i.not_before_ms;
	ret->until_ms = i.not_after_ms;
	ret->issuer = i.issuer;
	ret->serial = i.serial;
	ret->origin = str_c(arena_printf(a, "https://%s", ret->id.p));
	ret->ca_file = arena_printf(a, "%s/%s/ca.pem", root_path, path);
	ret->client_file = arena_printf(a, "%s/%s/client.pem", root_path, path);
	return 0;
}

int mirror_enrolled_list(int root_fd, const char *root_path, struct arena *a, struct mirror_enrolled **ret,
			 size_t *ret_n, struct err *e)
{
	auto_fs_list list = {0};
	*ret = NULL;
	*ret_n = 0;
	if (!fs_exists(root_fd, "mirror"))
		return 0;
	if (fs_list(root_fd, "mirror", MIRRORS_MAX, &list, e) < 0)
		return -1;
	*ret = arena_array(a, struct mirror_enrolled, list.n);
	for (size_t i = 0; i < list.n; i++) {
		auto_free char *client = xasprintf("mirror/%s/client.pem", list.name[i]);
		if (!fs_exists(root_fd, client))
			continue;
		if (read_one(root_fd, root_path, str_c(list.name[i]), a, &(*ret)[*ret_n], e) < 0)
			return err_ctx(e, "what this host knows of the mirror '%s' ('slipway enroll' makes it anew)",
				       list.name[i]);
		(*ret_n)++;
	}
	return 0;
}

const struct mirror_enrolled *mirror_enrolled_at(const struct mirror_enrolled *v, size_t n, struct str url)
{
	auto_arena a = ARENA_INIT;
	struct err ignored = ERR_INIT;
	struct str id, normal;
	url = str_head(url, strcspn(url.p, "?#"));
	if (!n || parse_url(url, &a, &id, &normal, &ignored) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].id, id))
			return &v[i];
	return NULL;
}

/* -- asking --------------------------------------------------------------------------------------------------------- */

/* The answer into `ret`, also where its status is an error; *ret_status 0: there was none, and *e says why. */
static int ask(const struct mirror_here *h, const char *url, struct str post, const struct transfer_trust *trust,
	       struct buf *ret, long *ret_status, struct err *e)
{
	auto_ptr(transfer) t = NULL;
	auto_fd fd = memfd_create("answer", MFD_CLOEXEC);
	struct transfer_opts o = h->transfer ? *h->transfer : TRANSFER_OPTS_INIT;
	char chunk[4096];
	ssize_t n;
	off_t at = 0;
	if (fd < 0)
		return err_sys(e, "make room for an answer");
	struct transfer_request r = {.url = url,
				     .label = "enrolment",
				     .fd = fd,
				     .max_bytes = REPLY_MAX,
				     .trust = trust,
				     .post = post,
				     .error_body = ret};
	*ret_status = 0;
	o.progress = NULL;
	if (transfer_new(&o, &t, e) < 0)
		return -1;
	transfer_add(t, &r);
	if (transfer_run(t, e) < 0)
		return -1;
	*ret_status = r.status;
	if (r.err.code != ERR_NONE) {
		*e = r.err;
		return -1;
	}
	buf_clear(ret);
	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		buf_put(ret, chunk, (size_t)n);
		at += n;
	}
	return n < 0 ? err_sys(e, "read an answer") : 0;
}

/* What the mirror says of its own accord is better than the number of a status. */
static int refused(const struct buf *body, long status, struct arena *a, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct str message;
	if (status < 400)
		return -1;
	const struct json *j = json_parse(a, buf_str(body), "answer", &ignored);
	if (!j || json_get_str(j, "message", &message, &ignored) < 0 || !message.n || message.n > 1000)
		return -1;
	char *text = arena_strdup(a, message);
	for (char *p = text; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p;
	return err_new(e, status == 403 || status == 409 ? ERR_VERIFY : ERR_NETWORK, "the mirror says: %s", text);
}

struct granted {
	struct str name, group, certificate, authorities;
};

/* What is read points into `body`. */
static int read_granted(struct str body, struct arena *a, struct granted *ret, struct err *e)
{
	const struct json *j = json_parse(a, body, "the mirror's answer", e);
	if (!j || json_get_str(j, "name", &ret->name, e) < 0 || json_get_str(j, "group", &ret->group, e) < 0 ||
	    json_get_str(j, "certificate", &ret->certificate, e) < 0 ||
	    json_get_str(j, "authorities", &ret->authorities, e) < 0)
		return -1;
	return pki_name_check(ret->name, e) < 0 || pki_name_check(ret->group, e) < 0 ? err_ctx(e, "the mirror's answer")
										     : 0;
}

static int post_request(const struct mirror_here *h, const char *url, struct str post,
			const struct transfer_trust *trust, struct arena *a, struct granted *ret, struct err *e)
{
	auto_buf body = BUF_INIT(REPLY_MAX);
	long status;
	if (ask(h, url, post, trust, &body, &status, e) < 0) {
		(void)refused(&body, status, a, e);
		return -1;
	}
	return read_granted(arena_str(a, buf_str(&body)), a, ret, e);
}

/* -- what is asked for ---------------------------------------------------------------------------------------------- */

/* What stays when Slipway is installed anew in the same place, and says nothing of the host to others. */
static int machine_id(const struct mirror_here *h, char ret[SHA256_HEX_SIZE], struct err *e)
{
	auto_buf id = BUF_INIT(256);
	auto_buf all = BUF_INIT(8192);
	uint8_t digest[SHA256_SIZE];
	struct err ignored = ERR_INIT;
	if (fs_read(AT_FDCWD, "/etc/machine-id", &id, &ignored) < 0 || str_trim(buf_str(&id)).n < 8)
		return err_new(
			e, ERR_NOT_FOUND,
			"this host has no /etc/machine-id to be known by; 'systemd-machine-id-setup' or 'dbus-uuidgen "
			"--ensure=/etc/machine-id' makes one");
	buf_printf(&all, "slipway mirror machine\n%.*s\n%s", STR_ARG(str_trim(buf_str(&id))), h->root_path);
	sha256(all.p, all.n, digest);
	hex_encode(digest, SHA256_SIZE, ret);
	return 0;
}

/* The host's own name, as far as it can be one of a client. */
static struct str host_name(struct arena *a)
{
	char text[256] = "";
	struct err ignored = ERR_INIT;
	(void)gethostname(text, sizeof(text) - 1);
	struct str s = arena_str(a, str_c(text));
	return pki_name_check(s, &ignored) == 0 ? s : STR_NONE;
}

/* Where it is enrolled already the key stays, so that the mirror sees that it is the same; an unfinished request goes on. */
static int need_key(int dir_fd, bool keep, struct pki_key **ret, struct err *e)
{
	if (keep && fs_exists(dir_fd, "client.pem"))
		return pki_key_load(dir_fd, "client.pem", ret, e);
	if (fs_exists(dir_fd, "pending.key"))
		return pki_key_load(dir_fd, "pending.key", ret, e);
	return pki_key_new(PKI_EC_P256, ret, e) < 0 || pki_key_save(dir_fd, "pending.key", *ret, e) < 0 ? -1 : 0;
}

/* The authorities first, then the certificate with its key: at each moment the two there are good for each other. */
static int keep_granted(int dir_fd, const struct mirror_enrolled *m, const struct granted *g, const struct pki_key *key,
			struct str trusted, int64_t now_ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(FILE_MAX);
	auto_ptr(pki_cert) cert = NULL;
	struct jw w = JW_INIT(&text, 2);
	struct str bundle, pem;
	if (pki_bundle_merge(trusted, g->authorities, now_ms, &a, &bundle, e) < 0 ||
	    pki_cert_read(g->certificate, "the certificate that the mirror made", &cert, e) < 0)
		return -1;
	struct pki_verify v = {.anchors = bundle, .purpose = PKI_CLIENT};
	if (!pki_cert_is_of(cert, key))
		return err_new(e, ERR_VERIFY, "the mirror made a certificate for another key");
	if (pki_verify(cert, &v, now_ms, e) < 0 || pki_key_pem(key, &a, &pem, e) < 0)
		return -1;
	struct str both = str_c(arena_printf(&a, "%s%s", pki_cert_pem(cert, &a).p, pem.p));
	jw_object(&w);
	jw_kv_int(&w, "format", FORMAT);
	jw_kv_str(&w, "url", m->url);
	jw_kv_str(&w, "name", g->name);
	jw_kv_str(&w, "group", g->group);
	jw_object_end(&w);
	buf_put_char(&text, '\n');
	return put(dir_fd, "ca.pem", bundle, false, e) < 0 ||
			       put(dir_fd, "mirror.json", buf_str(&text), false, e) < 0 ||
			       put(dir_fd, "client.pem", both, true, e) < 0 || drop(dir_fd, "pending.key", e) < 0 ||
			       drop(dir_fd, "pending.ca", e) < 0 || drop(dir_fd, "tried", e) < 0
		       ? -1
		       : 0;
}

/* -- enrolment ------------------------------------------------------------------------------------------------------ */

static int fetch_authority(const struct mirror_here *h, const struct mirror_enrolled *m, const struct code *code,
			   struct arena *a, struct str *ret, struct err *e)
{
	static const struct transfer_trust anybody = {.unverified = true};
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX);
	auto_free char *url = xasprintf("%.*s/pki/ca.pem", STR_ARG(m->url));
	long status;
	if (ask(h, url, STR_NONE, &anybody, &b, &status, e) < 0)
		return err_ctx(e, "the authority of '%.*s'", STR_ARG(m->id));
	if (pki_bundle_pick(buf_str(&b), code->pin, CODE_PIN, h->clock->wall_ms(h->clock), a, ret, e) < 0)
		return e->code == ERR_VERIFY
			       ? err_new(e, ERR_VERIFY,
					 "'%.*s' shows another authority than the code names: the code was made on another mirror "
					 "(or before its authority changed: ask for a new one), or somebody stands between; nothing "
					 "was sent",
					 STR_ARG(m->id))
			       : err_ctx(e, "the authority of '%.*s'", STR_ARG(m->id));
	return 0;
}

static int first_request(const struct mirror_here *h, struct str code, struct str name, const struct pki_key *key,
			 struct arena *a, struct str *ret, struct err *e)
{
	char machine[SHA256_HEX_SIZE];
	auto_buf b = BUF_INIT(MIRROR_CALL_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct str csr;
	if (machine_id(h, machine, e) < 0 || pki_request_new(key, name.n ? name : STR("host"), a, &csr, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_str(&w, "code", str_trim(code));
	jw_kv_c(&w, "machine", machine);
	jw_kv_opt(&w, "name", name);
	jw_kv_str(&w, "request", csr);
	jw_object_end(&w);
	*ret = arena_str(a, buf_str(&b));
	return 0;
}

int mirror_enroll_here(const struct mirror_here *h, struct str url, struct str code_text, struct str name,
		       struct arena *a, struct mirror_enrolled *ret, struct err *e)
{
	struct mirror_enrolled m = {0};
	struct code code;
	struct str bundle, post;
	struct granted g;
	auto_ptr(pki_key) key = NULL;
	if (parse_url(url, a, &m.id, &m.url, e) < 0 || code_parse(code_text, &code, e) < 0 ||
	    (name.n && pki_name_check(name, e) < 0))
		return -1;
	if (!name.n)
		name = host_name(a);
	auto_fd held = lock(h->root_fd, LOCK_MS, e);
	if (held < 0 || fetch_authority(h, &m, &code, a, &bundle, e) < 0)
		return -1;
	auto_fd dir_fd = open_folder(h->root_fd, m.id, true, e);
	if (dir_fd < 0 || put(dir_fd, "pending.ca", bundle, false, e) < 0 || need_key(dir_fd, true, &key, e) < 0 ||
	    first_request(h, code_text, name, key, a, &post, e) < 0)
		return -1;
	auto_free char *folder = folder_of(m.id);
	struct transfer_trust trust = {.ca_file = arena_printf(a, "%s/%s/pending.ca", h->root_path, folder)};
	auto_free char *to = xasprintf("%s/enroll", m.url.p);
	if (post_request(h, to, post, &trust, a, &g, e) < 0)
		return err_ctx(e, "enroll at '%s'", m.id.p);
	if (keep_granted(dir_fd, &m, &g, key, bundle, h->clock->wall_ms(h->clock), e) < 0)
		return err_ctx(e, "enroll at '%s'", m.id.p);
	return read_one(h->root_fd, h->root_path, m.id, a, ret, e);
}

/* -- renewal -------------------------------------------------------------------------------------------------------- */

bool mirror_enrolled_is_due(const struct mirror_enrolled *m, int64_t now_ms)
{
	return pki_is_due(m->from_ms, m->until_ms, now_ms) && now_ms < m->until_ms;
}

/* Announcements prove themselves, so it does not matter who brings them: the server may have a certificate already that only they explain. */
static int learn(const struct mirror_here *h, const struct mirror_enrolled *m, int dir_fd, struct err *e)
{
	static const struct transfer_trust anybody = {.unverified = true};
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX);
	struct str mine, all;
	long status;
	auto_free char *url = xasprintf("%.*s/pki/ca.pem", STR_ARG(m->url));
	if (ask(h, url, STR_NONE, &anybody, &b, &status, e) < 0 || read_text(dir_fd, "ca.pem", &a, &mine, e) < 0 ||
	    pki_bundle_merge(mine, buf_str(&b), h->clock->wall_ms(h->clock), &a, &all, e) < 0)
		return -1;
	if (str_eq(mine, all))
		return 0;
	return put(dir_fd, "ca.pem", all, false, e) < 0 ? -1 : 1;
}

int mirror_learn_here(const struct mirror_here *h, const struct mirror_enrolled *m, struct err *e)
{
	auto_fd held = lock(h->root_fd, LOCK_MS, e);
	auto_fd dir_fd = held < 0 ? -1 : open_folder(h->root_fd, m->id, false, e);
	return dir_fd < 0 ? -1 : learn(h, m, dir_fd, e);
}

/* A mirror that is down is not asked by each command. */
static bool tried_lately(int dir_fd, int64_t now_ms)
{
	auto_buf b = BUF_INIT(64);
	struct err ignored = ERR_INIT;
	int64_t at;
	return fs_read(dir_fd, "tried", &b, &ignored) == 0 && str_to_i64(str_trim(buf_str(&b)), &at) && at <= now_ms &&
	       now_ms - at < AGAIN_MS;
}

static int renew(const struct mirror_here *h, const struct mirror_enrolled *m, int dir_fd, struct arena *a,
		 struct err *e)
{
	auto_ptr(pki_key) key = NULL;
	auto_buf b = BUF_INIT(MIRROR_CALL_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct str csr, trusted;
	struct granted g;
	if (need_key(dir_fd, false, &key, e) < 0 || pki_request_new(key, m->name, a, &csr, e) < 0 ||
	    read_text(dir_fd, "ca.pem", a, &trusted, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_str(&w, "request", csr);
	jw_object_end(&w);
	struct transfer_trust trust = {m->ca_file, m->client_file, m->client_file, false};
	auto_free char *to = xasprintf("%s/renew", m->url.p);
	return post_request(h, to, buf_str(&b), &trust, a, &g, e) < 0 ||
			       keep_granted(dir_fd, m, &g, key, trusted, h->clock->wall_ms(h->clock), e) < 0
		       ? -1
		       : 0;
}

static void note_try(int dir_fd, int64_t now_ms)
{
	char text[32];
	struct err ignored = ERR_INIT;
	int n = snprintf(text, sizeof(text), "%lld\n", (long long)now_ms);
	(void)fs_replace(dir_fd, "tried", text, (size_t)n, 0, &ignored);
}

int mirror_renew_here(const struct mirror_here *h, const struct mirror_enrolled *m, bool even_if_early, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct mirror_enrolled now;
	struct err busy = ERR_INIT;
	struct err ignored = ERR_INIT;
	int64_t now_ms = h->clock->wall_ms(h->clock);
	if (!even_if_early && !mirror_enrolled_is_due(m, now_ms))
		return 0;
	auto_fd held = lock(h->root_fd, even_if_early ? LOCK_MS : 0, &busy);
	if (held < 0) {
		if (busy.code == ERR_BUSY && !even_if_early)
			return 0; /* another command does it */
		*e = busy;
		return -1;
	}
	auto_fd dir_fd = open_folder(h->root_fd, m->id, false, e);
	if (dir_fd < 0 || read_one(h->root_fd, h->root_path, m->id, &a, &now, e) < 0)
		return -1;
	if (!even_if_early && (!mirror_enrolled_is_due(&now, now_ms) || tried_lately(dir_fd, now_ms)))
		return 0;
	(void)learn(h, &now, dir_fd, &ignored); /* if it is down, the renewal says so */
	if (renew(h, &now, dir_fd, &a, e) == 0)
		return 1;
	note_try(dir_fd, now_ms);
	return err_ctx(e, "renew the certificate of this host at '%.*s'", STR_ARG(m->id));
}

int mirror_leave_here(int root_fd, struct str id, struct err *e)
{
	auto_free char *path = folder_of(id);
	auto_free char *client = xasprintf("%s/client.pem", path);
	if (!fs_path_is_inside(str_c(path)) || str_find(id, '/') >= 0 || !fs_exists(root_fd, client))
		return err_new(e, ERR_NOT_FOUND,
			       "this host is not enrolled at '%.*s'; 'slipway enroll' lists where it is",
			       STR_ARG(str_head(id, 200)));
	auto_fd held = lock(root_fd, LOCK_MS, e);
	return held < 0 || drop(root_fd, client, e) < 0 ? -1 : fs_remove_tree(root_fd, path, e);
}
