// SPDX-License-Identifier: Apache-2.0
/* OpenPGP by the programs gpg and gpgv. */
#include "channel/openpgp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"

enum {
	GPG_MS = 120000, /* a key of an old machine takes its time */
	LOCK_WAIT_MS = 60000,
	AGENT_TRIES = 4,
	AGENT_PAUSE_MS = 250,
	STATUS_MAX = 1 << 20,
	KEYRING_MAX = 64 << 20,
	ARGS_MAX = 40,
	HOME_MAX = 80, /* with "/S.gpg-agent.browser" it must fit into a socket's address */
};

/* -- running gpg ---------------------------------------------------------------------------------------------------- */

struct openpgp {
	char *home;  /* as gpg is told it */
	char *alias; /* a folder that holds a short link to the real home, or NULL */
	int lock_fd;
	char agent[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool agent_ran; /* before us: not ours to end */
};

/* The last thing that a GnuPG program said, without its name and what is no cause. */
static struct str last_word(struct str said)
{
	struct str line, word = STR_NONE;
	while (str_take_line(&said, &line)) {
		if (str_starts(line, STR("[GNUPG:]")) || str_trim(line).n == 0)
			continue;
		(void)(str_take_str(&line, STR("gpg: ")) || str_take_str(&line, STR("gpgv: ")));
		word = str_trim(line);
	}
	return word;
}

static bool is_missing(struct err *e, const char *program)
{
	if (e->code != ERR_NOT_FOUND)
		return false;
	err_new(e, ERR_UNSUPPORTED, "the program '%s' is not installed; Debian has it in the package %s", program,
		program);
	return true;
}

/* gpg once: its exit status, `said` what it wrote. */
static int run(const char *const *argv, struct str input, struct buf *out, struct buf *said, const char *doing,
	       struct err *e)
{
	struct proc_opts o = {.argv = argv, .input = input, .out = out, .errout = said, .deadline_ms = GPG_MS};
	int status = proc_run(&o, e);
	if (status < 0)
		return is_missing(e, "gpg") ? -1 : err_ctx(e, "%s", doing);
	if (out && out->overflow)
		return err_new(e, ERR_LIMIT, "%s: gpg writes more than %zu bytes", doing, out->max);
	return status;
}

/* In the words of whichever of its parts asked. */
static bool is_agent_gone(struct str why)
{
	return str_starts(why, STR("can't connect to the agent")) || str_search(why, STR("No agent running")) >= 0;
}

/* gpg with `args` (the last is NULL) in the home; 0 where it exits so. An agent that is just ending, since whoever started it
 * was killed or its folder moved, still holds the socket: gpg is told that nobody answers, and the next gpg starts another. */
static int gpg(const struct openpgp *g, const char *const *args, struct str input, struct buf *out, const char *doing,
	       struct err *e)
{
	static const char *const always[] = {"gpg",
					     "--batch",
					     "--no-tty",
					     "--no-options",
					     "--quiet",
					     "--status-fd",
					     "2",
					     "--no-auto-check-trustdb",
					     "--trust-model",
					     "always",
					     "--display-charset",
					     "utf-8",
					     "--pinentry-mode",
					     "error",
					     "--homedir"};
	enum { ALWAYS = sizeof(always) / sizeof(always[0]) };
	const char *argv[ARGS_MAX] = {NULL};
	size_t n = 0;
	for (; n < ALWAYS; n++)
		argv[n] = always[n];
	argv[n++] = g->home;
	while (*args && n + 1 < ARGS_MAX)
		argv[n++] = *args++;
	auto_buf said = BUF_INIT(STATUS_MAX);
	size_t before = out ? out->n : 0;
	for (int try = 1;; try++) {
		int status = run(argv, input, out, &said, doing, e);
		if (status <= 0)
			return status;
		struct str why = last_word(buf_str(&said));
		if (try == AGENT_TRIES || !is_agent_gone(why))
			return err_new(e, ERR_FAILED, "%s with the keys in '%s': gpg says '%.*s'", doing, g->home,
				       STR_ARG(why));
		if (out)
			buf_truncate(out, before);
		buf_clear(&said);
		(void)poll(NULL, 0, AGENT_PAUSE_MS);
	}
}

/* -- the home folder ------------------------------------------------------------------------------------------------ */

static void gpgconf(const struct openpgp *g, const char *verb, const char *what, struct buf *out)
{
	const char *argv[] = {"gpgconf", "--homedir", g->home, verb, what, NULL};
	auto_buf said = BUF_INIT(STATUS_MAX);
	struct proc_opts o = {.argv = argv, .out = out ? out : &said, .errout = &said, .deadline_ms = GPG_MS};
	struct err ignored = ERR_INIT;
	(void)proc_run(&o, &ignored);
}

/* Where the agent of this home listens: in it, or in a folder of /run/user. gpgconf writes a ':' as "%3a". */
static void find_agent(struct openpgp *g)
{
	auto_buf out = BUF_INIT(STATUS_MAX);
	struct str line = STR_NONE;
	size_t n = 0;
	gpgconf(g, "--list-dirs", "agent-socket", &out);
	struct str s = buf_str(&out);
	(void)str_take_line(&s, &line);
	for (size_t i = 0; i < line.n && n + 1 < sizeof(g->agent); n++) {
		uint8_t c;
		bool escaped = line.p[i] == '%' && str_unhex(str_head(str_skip(line, i + 1), 2), &c, 1);
		g->agent[n] = escaped ? (char)c : line.p[i];
		i += escaped ? 3 : 1;
	}
	g->agent[n] = '\0';
}

static bool agent_runs(const struct openpgp *g)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", g->agent);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return g->agent[0] && fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* A socket's address has no room for long paths, and the agent's socket lies in its home. */
static int shorten(struct openpgp *g, struct err *e)
{
	uint64_t random;
	if (strlen(g->home) <= HOME_MAX)
		return 0;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(e, "get random bytes");
	auto_free char *folder = xasprintf("/tmp/slipway-%016llx", (unsigned long long)random);
	if (sys_mkdirat(AT_FDCWD, folder, 0700) < 0)
		return err_sys(e, "make folder '%s'", folder);
	g->alias = steal_ptr(&folder);
	auto_free char *link = xasprintf("%s/h", g->alias);
	if (sys_symlinkat(g->home, AT_FDCWD, link) < 0)
		return err_sys(e, "make link '%s'", link);
	free(g->home);
	g->home = steal_ptr(&link);
	return 0;
}

int openpgp_open(const char *home, struct openpgp **ret, struct err *e)
{
	auto_ptr(openpgp) g = xcalloc(1, sizeof(*g));
	g->lock_fd = -1;
	auto_fd dir = fs_open_dir(AT_FDCWD, home, e);
	if (dir < 0)
		return e->code == ERR_NOT_FOUND
			       ? err_ctx(e, "there is no signing key; make one with 'slipway channel key'")
			       : -1;
	struct stat st;
	if (fstat(dir, &st) < 0)
		return err_sys(e, "look at '%s'", home);
	if (st.st_mode & 077)
		return err_new(e, ERR_USAGE, "others may look into '%s', which holds a secret key; run 'chmod 700 %s'",
			       home, home);
	g->lock_fd = fs_lock(dir, "slipway.lock", LOCK_WAIT_MS, e);
	g->home = realpath(home, NULL);
	if (g->lock_fd < 0 || !g->home)
		return g->home ? -1 : err_sys(e, "look at '%s'", home);
	if (shorten(g, e) < 0)
		return -1;
	find_agent(g);
	g->agent_ran = agent_runs(g);
	*ret = steal_ptr(&g);
	return 0;
}

void openpgp_close(struct openpgp *g)
{
	if (!g)
		return;
	if (g->home && !g->agent_ran && agent_runs(g)) {
		gpgconf(g, "--kill", "gpg-agent", NULL);
		gpgconf(g, "--remove-socketdir", NULL, NULL);
	}
	if (g->alias) {
		auto_free char *link = xasprintf("%s/h", g->alias);
		(void)sys_unlinkat(AT_FDCWD, link, 0);
		(void)sys_unlinkat(AT_FDCWD, g->alias, AT_REMOVEDIR);
	}
	cleanup_fd(&g->lock_fd);
	free(g->alias);
	free(g->home);
	free(g);
}

/* -- keys ----------------------------------------------------------------------------------------------------------- */

/* The field of a line of --with-colons, from 0. */
static struct str colon_field(struct str line, size_t n)
{
	struct str field = line;
	do
		if (!str_take_until(&line, ':', &field))
			field = n == 0 ? line : STR_NONE;
	while (n-- > 0 && field.p);
	return field;
}

static bool is_fingerprint(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'A' && s.p[i] <= 'F'))
			return false;
	return s.n >= 40 && s.n < CHANNEL_KEY_SIZE;
}

/* The first secret key that can sign, and how many there are. */
static int find(const struct openpgp *g, char ret[CHANNEL_KEY_SIZE], size_t *ret_n, struct err *e)
{
	static const char *const args[] = {"--with-colons", "--fixed-list-mode", "--list-secret-keys", NULL};
	auto_buf out = BUF_INIT(STATUS_MAX);
	if (gpg(g, args, STR_NONE, &out, "list keys", e) < 0)
		return -1;
	struct str s = buf_str(&out), line;
	bool wanted = false;
	*ret_n = 0;
	while (str_take_line(&s, &line)) {
		struct str record = colon_field(line, 0);
		if (str_eq_c(record, "sec")) {
			/* upper case: of the whole key; e: expired, r: revoked */
			struct str validity = colon_field(line, 1);
			wanted = str_find(colon_field(line, 11), 'S') >= 0 && !str_eq_c(validity, "e") &&
				 !str_eq_c(validity, "r");
		}
		struct str f = colon_field(line, 9);
		if (!str_eq_c(record, "fpr") || !wanted || !is_fingerprint(f))
			continue;
		if ((*ret_n)++ == 0)
			snprintf(ret, CHANNEL_KEY_SIZE, "%.*s", STR_ARG(f));
		wanted = false; /* those of subkeys follow */
	}
	return 0;
}

int channel_key_find(const char *home, char ret[CHANNEL_KEY_SIZE], struct err *e)
{
	auto_ptr(openpgp) g = NULL;
	size_t n;
	if (!fs_exists(AT_FDCWD, home))
		return 0;
	if (openpgp_open(home, &g, e) < 0 || find(g, ret, &n, e) < 0)
		return -1;
	if (n > 1)
		return err_new(
			e, ERR_USAGE,
			"'%s' holds %zu keys; say which one signs, by its fingerprint ('gpg --homedir %s -K' lists "
			"them)",
			home, n, home);
	return n == 1;
}

int channel_key_make(const char *home, struct str owner, enum channel_key_kind kind, char ret[CHANNEL_KEY_SIZE],
		     struct err *e)
{
	const char *const algo = kind == CHANNEL_KEY_ED25519 ? "ed25519" : "rsa3072";
	auto_ptr(openpgp) g = NULL;
	size_t n;
	for (size_t i = 0; i < owner.n; i++)
		if ((unsigned char)owner.p[i] < ' ' || owner.p[i] == 0x7f)
			return err_new(e, ERR_USAGE, "the name of a key's owner holds a control character");
	if (owner.n < 5 || owner.n > 256)
		return err_new(e, ERR_USAGE, "the name of a key's owner has 5 to 256 bytes");
	if (fs_mkdirs(AT_FDCWD, home, 0700, e) < 0 || openpgp_open(home, &g, e) < 0 || find(g, ret, &n, e) < 0)
		return -1;
	if (n > 0)
		return err_new(e, ERR_EXISTS, "there is a key in '%s' already: %s", home, ret);
	auto_free char *name = str_dup(owner);
	const char *const args[] = {"--pinentry-mode", "loopback", "--passphrase", "",
				    "--quick-gen-key", name,	   algo,	   "sign",
				    "never",	       NULL};
	if (gpg(g, args, STR_NONE, NULL, "make a key", e) < 0 || find(g, ret, &n, e) < 0)
		return -1;
	return n == 1 ? 0 : err_new(e, ERR_FAILED, "make a key: gpg made none in '%s'", home);
}

int channel_key_export(const struct channel_signer *s, bool armored, struct buf *ret, struct err *e)
{
	const char *const args[] = {"--export-options", "export-minimal", armored ? "--armor" : "--no-armor",
				    "--export",		s->key,		  NULL};
	auto_ptr(openpgp) g = NULL;
	size_t before = ret->n;
	if (openpgp_open(s->home, &g, e) < 0 || gpg(g, args, STR_NONE, ret, "export the public key", e) < 0)
		return -1;
	return ret->n > before ? 0 : err_new(e, ERR_NOT_FOUND, "there is no key '%s' in '%s'", s->key, s->home);
}

/* -- signing -------------------------------------------------------------------------------------------------------- */

int openpgp_sign(struct openpgp *g, const char *key, enum openpgp_form form, struct str text, struct buf *ret,
		 struct err *e)
{
	const char *const args[] = {"--digest-algo",
				    "SHA512",
				    "--personal-digest-preferences",
				    "SHA512",
				    "--no-emit-version",
				    "--comment",
				    "",
				    "--armor",
				    "--local-user",
				    key,
				    "--output",
				    "-",
				    form == OPENPGP_CLEAR ? "--clear-sign" : "--detach-sign",
				    NULL};
	size_t before = ret->n;
	if (text.n == 0)
		return err_new(e, ERR_USAGE, "there is nothing to sign");
	if (gpg(g, args, text, ret, "sign", e) < 0)
		return -1;
	return ret->n > before ? 0 : err_new(e, ERR_FAILED, "sign: gpg wrote nothing");
}

/* -- armor ---------------------------------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* One armored block, after its first line. The checksum is for transmission errors of old and is not looked at. */
static bool take_armored(struct str *s, struct buf *ret)
{
	struct str line;
	uint32_t bits = 0;
	int have = 0;
	bool in_head = true, ended = false;
	while (str_take_line(s, &line)) {
		line = str_trim(line);
		if (str_starts(line, STR("-----END ")))
			return !in_head;
		if (in_head) {
			in_head = line.n > 0;
			continue;
		}
		ended |= line.n > 0 && line.p[0] == '=';
		for (size_t i = 0; !ended && i < line.n && line.p[i] != '='; i++) {
			int d = base64_digit(line.p[i]);
			if (d < 0)
				return false;
			bits = bits << 6 | (uint32_t)d;
			if ((have += 6) >= 8)
				buf_put_char(ret, (char)(bits >> (have -= 8) & 0xff));
		}
	}
	return false;
}

/* gpgv reads keyrings without armor alone. */
static int keyring_read(const char *path, struct buf *ret, struct err *e)
{
	auto_buf b = BUF_INIT(KEYRING_MAX);
	if (fs_read(AT_FDCWD, path, &b, e) < 0)
		return err_ctx(e, "read keyring");
	struct str s = buf_str(&b), line;
	if (s.n && (unsigned char)s.p[0] & 0x80) {
		buf_put_str(ret, s);
		return 0;
	}
	while (str_take_line(&s, &line))
		if (str_starts(line, STR("-----BEGIN PGP PUBLIC KEY BLOCK-----")) && !take_armored(&s, ret))
			return err_new(e, ERR_INPUT, "'%s' is no keyring: its armor is damaged", path);
	return ret->n ? 0 : err_new(e, ERR_INPUT, "'%s' is no keyring: there is no public key in it", path);
}

/* -- checking ------------------------------------------------------------------------------------------------------- */

/* A file without a name, which gpgv opens by way of /proc: nothing is left behind, whatever happens. */
static int memory_file(struct str bytes, const char *name, char *ret_path, size_t path_size, struct err *e)
{
	auto_fd fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "make a memory file");
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write a memory file");
		bytes = str_skip(bytes, (size_t)n);
	}
	snprintf(ret_path, path_size, "/proc/%ld/fd/%d", (long)getpid(), fd);
	return steal_fd(&fd);
}

/* Signatures of keys that are not there do not matter while one is good. Expired and revoked ones are told as EXPKEYSIG,
 * EXPSIG and REVKEYSIG in place of GOODSIG. */
static int judge(struct str status, const char *what, struct err *e)
{
	struct str all = status, line, word, missing = STR_NONE;
	size_t good = 0;
	bool last_good = false;
	while (str_take_line(&status, &line)) {
		if (!str_take_str(&line, STR("[GNUPG:] ")) || !str_take_word(&line, &word))
			continue;
		if (str_eq_c(word, "BADSIG"))
			return err_new(e, ERR_VERIFY, "'%s' does not carry its signature: one of them is changed",
				       what);
		if (str_eq_c(word, "NEWSIG"))
			last_good = false;
		if (str_eq_c(word, "GOODSIG"))
			last_good = true;
		if (str_eq_c(word, "VALIDSIG") && last_good)
			good++;
		if (str_eq_c(word, "NO_PUBKEY"))
			(void)str_take_word(&line, &missing);
		if (str_eq_c(word, "EXPKEYSIG") || str_eq_c(word, "REVKEYSIG"))
			(void)str_take_word(&line, &missing);
	}
	if (good > 0)
		return 0;
	if (missing.p)
		return err_new(e, ERR_VERIFY, "'%s' is signed by the key %.*s, which the keyring has not or no longer",
			       what, STR_ARG(missing));
	struct str why = last_word(all);
	return err_new(e, ERR_VERIFY, "'%s' is not signed: gpgv says '%.*s'", what, STR_ARG(why));
}

static int gpgv(const char *keyring, struct str text, const char *sig_path, struct buf *out, const char *what,
		struct err *e)
{
	char ring_path[64];
	auto_buf ring = BUF_INIT(KEYRING_MAX), said = BUF_INIT(STATUS_MAX);
	if (keyring_read(keyring, &ring, e) < 0)
		return -1;
	auto_fd ring_fd = memory_file(buf_str(&ring), "keyring", ring_path, sizeof(ring_path), e);
	if (ring_fd < 0)
		return -1;
	const char *const argv[] = {"gpgv",
				    "--quiet",
				    "--status-fd",
				    "2",
				    "--homedir",
				    "/",
				    "--weak-digest",
				    "SHA1",
				    "--weak-digest",
				    "RIPEMD160",
				    "--keyring",
				    ring_path,
				    sig_path ? sig_path : "--output",
				    "-",
				    sig_path ? NULL : "-",
				    NULL};
	struct proc_opts o = {.argv = argv, .input = text, .out = out, .errout = &said, .deadline_ms = GPG_MS};
	if (proc_run(&o, e) < 0)
		return is_missing(e, "gpgv") ? -1 : err_ctx(e, "check '%s'", what);
	if (said.overflow || (out && out->overflow))
		return err_new(e, ERR_LIMIT, "'%s' is too large", what);
	return judge(buf_str(&said), what, e);
}

#define CLEAR_BEGIN "-----BEGIN PGP SIGNED MESSAGE-----"
#define CLEAR_END "-----BEGIN PGP SIGNATURE-----"

/* Appends the text of a clear-signed message that is one: nothing before it, nothing after it, none within it. */
static int take_clear(struct str text, const char *what, struct buf *ret, struct err *e)
{
	struct str line;
	bool in_head = true, signature = false, ended = false, empty = true;
	if (!str_take_line(&text, &line) || !str_eq_c(str_trim(line), CLEAR_BEGIN))
		return err_new(e, ERR_VERIFY, "'%s' is no signed message", what);
	while (str_take_line(&text, &line)) {
		if (ended && str_trim(line).n == 0)
			continue;
		if (ended || str_eq_c(str_trim(line), CLEAR_BEGIN))
			return err_new(e, ERR_VERIFY, "'%s' is more than one signed message", what);
		if (in_head) {
			in_head = str_trim(line).n > 0;
		} else if (signature) {
			ended = str_starts(line, STR("-----END PGP SIGNATURE-----"));
		} else if (str_eq_c(str_trim(line), CLEAR_END)) {
			signature = true;
		} else {
			(void)str_take_str(&line, STR("- "));
			if (!empty)
				buf_put_char(ret, '\n');
			buf_put_str(ret, line);
			empty = false;
		}
	}
	if (!empty)
		buf_put_char(ret, '\n');
	return ended ? 0 : err_new(e, ERR_VERIFY, "'%s' is no whole signed message", what);
}

int openpgp_check_clear(const char *keyring, struct str text, const char *what, struct buf *ret, struct err *e)
{
	auto_buf signed_text = BUF_INIT(text.n);
	auto_buf plain = BUF_INIT(text.n + 1);
	if (take_clear(text, what, keyring ? &plain : ret, e) < 0)
		return -1;
	if (!keyring)
		return ret->overflow ? err_new(e, ERR_LIMIT, "'%s' is too large", what) : 0;
	if (gpgv(keyring, text, NULL, &signed_text, what, e) < 0)
		return -1;
	/* what gpgv read and not what was read here is what counts */
	buf_put_str(ret, buf_str(&signed_text));
	if (signed_text.n && signed_text.p[signed_text.n - 1] != '\n')
		buf_put_char(ret, '\n');
	return ret->overflow ? err_new(e, ERR_LIMIT, "'%s' is too large", what) : 0;
}

int openpgp_check_detached(const char *keyring, struct str text, struct str signature, const char *what, struct err *e)
{
	char path[64];
	auto_fd fd = memory_file(signature, "signature", path, sizeof(path), e);
	return fd < 0 ? -1 : gpgv(keyring, text, path, NULL, what, e);
}
