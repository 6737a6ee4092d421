// SPDX-License-Identifier: Apache-2.0
/*
 * Virtual packages (CEP 30, and CEP 46 for __cuda_arch): what the host that is solved for provides.
 *
 * "Native" is a solve for the subdir of the machine this runs on; for any other, defaults stand in for what cannot be known.
 */
#include "channel/virtual.h"

#include <errno.h>
#include <fcntl.h>
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "channel/channel.h"

enum {
	VIRTUAL_MAX = 8,
	CPUINFO_MAX = 8 << 10, /* the first processor is enough */
	CUDA_DEADLINE_MS = 3000,
	REAP_TRIES = 50,
};
static const char default_glibc[] = "2.17", unknown_version[] = "0";

struct collector {
	const struct virtual_host *host;
	struct arena *a;
	struct str os, arch, subdir;
	bool native;
	const char *(*env)(const char *);
	struct pkg_record *record;
	size_t n;
	struct err *e;
};

static void add(struct collector *c, const char *name, struct str version, struct str build)
{
	struct pkg_record *r = &c->record[c->n++];
	*r = (struct pkg_record){.name = str_c(name), .channel = STR("virtual"), .subdir = c->subdir};
	r->version = arena_str(c->a, version);
	r->build = arena_str(c->a, build);
}

/* CONDA_OVERRIDE_<name>: NULL where it is not set. */
static const char * override(const struct collector *c, const char *name)
{
	return c->env ? c->env(name) : NULL;
}

static const char *host_path(const struct collector *c, const char *path)
{
	return arena_printf(c->a, "%s%s", c->host->root, path);
}

static int bad_override(struct collector *c, const char *name, const char *value, const char *expected)
{
	return err_new(c->e, ERR_USAGE, "environment variable %s: '%.100s' is not %s; unset it or give such a value",
		       name, value, expected);
}

/* A package whose version the environment may set; `detected` is empty where the host has none. An empty override takes it away
 * if it `may_go`, and counts for nothing else. */
static int add_versioned(struct collector *c, const char *name, const char *variable, struct str detected, bool may_go)
{
	const char *value = override(c, variable);
	struct err ignored = ERR_INIT;
	if (value && *value) {
		if (pkg_version_check(str_c(value), &ignored) < 0)
			return bad_override(c, variable, value, "a version such as '1.2'");
		detected = str_c(value);
	} else if (value && may_go) {
		return 0;
	}
	if (detected.n)
		add(c, name, detected, STR("0"));
	return 0;
}

/* -- __archspec ---------------------------------------------------------------------------------------------------- */
static int add_archspec(struct collector *c)
{
	static const char variable[] = "CONDA_OVERRIDE_ARCHSPEC";
	const char *value = override(c, variable);
	struct err ignored = ERR_INIT;
	if (value && *value) {
		if (pkg_build_check(str_c(value), &ignored) < 0)
			return bad_override(c, variable, value, "the name of a micro-architecture such as 'x86_64_v3'");
		add(c, "__archspec", STR("1"), str_c(value));
		return 0;
	}
	auto_buf b = BUF_INIT(CPUINFO_MAX);
	struct str name = archspec_family(c->arch);
	if (c->native) {
		auto_fd fd = open(host_path(c, "/proc/cpuinfo"), O_RDONLY | O_CLOEXEC);
		char chunk[4096];
		ssize_t n;
		while (fd >= 0 && !b.overflow && (n = read(fd, chunk, sizeof(chunk))) > 0)
			buf_put(&b, chunk, (size_t)n);
		name = archspec_detect(buf_str(&b), c->arch);
	}
	if (name.n)
		add(c, "__archspec", STR("1"), name);
	else
		add(c, "__archspec", STR("0"), c->arch.n ? c->arch : c->subdir);
	return 0;
}

/* -- __linux, __glibc ---------------------------------------------------------------------------------------------- */
struct str kernel_version(struct str release)
{
	size_t n = 0, parts = 0;
	while (parts < 4 && n < release.n && release.p[n] >= '0' && release.p[n] <= '9') {
		while (n < release.n && release.p[n] >= '0' && release.p[n] <= '9')
			n++;
		parts++;
		if (parts == 4 || n + 1 >= release.n || release.p[n] != '.' || release.p[n + 1] < '0' ||
		    release.p[n + 1] > '9')
			break;
		n++;
	}
	return str_head(release, n);
}

/* Two to four numbers. */
static bool is_dotted_number(struct str s)
{
	return kernel_version(s).n == s.n && str_find(s, '.') > 0;
}

static int add_linux(struct collector *c)
{
	static const char variable[] = "CONDA_OVERRIDE_LINUX";
	const char *value = override(c, variable);
	struct utsname u;
	struct err ignored = ERR_INIT;
	struct str v = str_c(unknown_version);
	if (value && *value) {
		v = str_c(value);
		if (!is_dotted_number(v) || pkg_version_check(v, &ignored) < 0)
			return bad_override(c, variable, value, "a kernel version such as '6.1.0'");
	} else if (uname(&u) == 0 && strcmp(u.sysname, "Linux") == 0 && kernel_version(str_c(u.release)).n) {
		v = kernel_version(str_c(u.release));
	}
	add(c, "__linux", v, STR("0"));
	return 0;
}

/* "2.36" of "glibc 2.36"; empty where the C library is another one. */
static struct str host_glibc(char *room, size_t size)
{
	size_t n = confstr(_CS_GNU_LIBC_VERSION, room, size);
	struct str s = n > 0 && n <= size ? str_c(room) : STR(""), major, rest;
	if (!str_take_str(&s, STR("glibc ")))
		return STR("");
	rest = s;
	if (!str_take_until(&rest, '.', &major))
		return str_c(default_glibc);
	size_t minor = 0;
	while (minor < rest.n && rest.p[minor] >= '0' && rest.p[minor] <= '9')
		minor++;
	return minor ? str_head(s, major.n + 1 + minor) : str_c(default_glibc);
}

static int add_glibc(struct collector *c)
{
	char room[64];
	struct str v = c->native ? host_glibc(room, sizeof(room)) : str_c(default_glibc);
	return add_versioned(c, "__glibc", "CONDA_OVERRIDE_GLIBC", v, true);
}

/* -- __cuda, __cuda_arch -------------------------------------------------------------------------------------------- */
/* In the child: asks the driver's library, which may be broken or hang, and prints "12.4\n8.6\n" as far as it gets. */
static void ask_cuda(const char *library, int fd)
{
	enum { MAJOR_CAPABILITY = 75, MINOR_CAPABILITY = 76 };
	int (*driver_version)(int *), (*init)(unsigned), (*count)(int *), (*attribute)(int *, int, int);
	int v = 0, devices = 0, major, minor, lowest = 0;
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return;
	*(void **)&driver_version = dlsym(lib, "cuDriverGetVersion");
	*(void **)&init = dlsym(lib, "cuInit");
	*(void **)&count = dlsym(lib, "cuDeviceGetCount");
	*(void **)&attribute = dlsym(lib, "cuDeviceGetAttribute");
	if (!driver_version || driver_version(&v) != 0 || v <= 0)
		return;
	dprintf(fd, "%d.%d\n", v / 1000, v % 1000 / 10);
	if (!init || !count || !attribute || init(0) != 0 || count(&devices) != 0)
		return;
	for (int i = 0; i < devices; i++) /* device handles are their numbers */
		if (attribute(&major, MAJOR_CAPABILITY, i) == 0 && attribute(&minor, MINOR_CAPABILITY, i) == 0 &&
		    (lowest == 0 || major * 100 + minor < lowest))
			lowest = major * 100 + minor;
	if (lowest)
		dprintf(fd, "%d.%d\n", lowest / 100, lowest % 100);
}

/* Whether it is worth asking: a driver shows itself in one of these places. */
static bool has_driver(const struct collector *c)
{
	static const char *const traces[] = {"/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg",
					     "/dev/nvhost-ctrl", "/dev/nvmap"};
	for (size_t i = 0; i < sizeof(traces) / sizeof(*traces); i++)
		if (access(host_path(c, traces[i]), F_OK) == 0)
			return true;
	return false;
}

static void read_answer(int fd, char *out, size_t size)
{
	size_t n = 0;
	int64_t end = clock_mono_ms() + CUDA_DEADLINE_MS;
	for (;;) {
		int64_t left = end - clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int rc = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (rc < 0 && errno == EINTR)
			continue;
		ssize_t got = rc > 0 ? read(fd, out + n, size - 1 - n) : 0;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	out[n] = '\0';
}

/* What a child says within the deadline; then it is killed whatever it does. */
static void host_cuda(const struct collector *c, char *out, size_t size)
{
	int fds[2];
	*out = '\0';
	if (!has_driver(c) || pipe2(fds, O_CLOEXEC) < 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		ask_cuda(c->host->libcuda, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (child > 0) {
		read_answer(fds[0], out, size);
		kill(child, SIGKILL);
		/* one that the driver holds in the kernel does not die yet: it is not waited for */
		for (int i = 0; i < REAP_TRIES && waitpid(child, NULL, WNOHANG) == 0; i++)
			poll(NULL, 0, 1);
	}
	close(fds[0]);
}

static int add_cuda(struct collector *c)
{
	char answer[64] = "";
	const char *value = override(c, "CONDA_OVERRIDE_CUDA"), *arch = override(c, "CONDA_OVERRIDE_CUDA_ARCH");
	if (c->native && !value)
		host_cuda(c, answer, sizeof(answer));
	struct str rest = str_c(answer), version = STR(""), capability = STR("");
	str_take_line(&rest, &version);
	str_take_line(&rest, &capability);
	size_t before = c->n;
	if (add_versioned(c, "__cuda", "CONDA_OVERRIDE_CUDA", version, true) < 0)
		return -1;
	if (c->n == before)
		return 0; /* no __cuda, no __cuda_arch */
	if (arch && *arch && !is_dotted_number(str_c(arch)))
		return bad_override(c, "CONDA_OVERRIDE_CUDA_ARCH", arch, "a compute capability such as '8.6'");
	return add_versioned(c, "__cuda_arch", "CONDA_OVERRIDE_CUDA_ARCH", capability, true);
}

/* -- all ----------------------------------------------------------------------------------------------------------- */
static bool os_is_one_of(struct str os, const char *words)
{
	struct str list = str_c(words), w;
	while (str_take_word(&list, &w))
		if (str_eq(os, w))
			return true;
	return false;
}

static int collect(struct collector *c)
{
	if (add_archspec(c) < 0 || add_cuda(c) < 0)
		return -1;
	if (str_eq_c(c->os, "linux") && (add_glibc(c) < 0 || add_linux(c) < 0))
		return -1;
	if (str_eq_c(c->os, "osx") &&
	    add_versioned(c, "__osx", "CONDA_OVERRIDE_OSX", str_c(unknown_version), false) < 0)
		return -1;
	if (os_is_one_of(c->os, "linux osx freebsd netbsd openbsd emscripten"))
		add(c, "__unix", STR("0"), STR("0"));
	if (str_eq_c(c->os, "win") &&
	    add_versioned(c, "__win", "CONDA_OVERRIDE_WIN", str_c(unknown_version), false) < 0)
		return -1;
	return 0;
}

int virtual_of_host(const struct virtual_host *h, struct arena *a, struct str subdir, const char *(*env)(const char *),
		    struct pkg_record **ret, size_t *ret_n, struct err *e)
{
	if (pkg_subdir_check(subdir, e) < 0)
		return -1;
	struct collector c = {.host = h, .a = a, .subdir = arena_str(a, subdir), .env = env, .e = e};
	struct str rest = c.subdir;
	if (str_take_until(&rest, '-', &c.os))
		c.arch = rest;
	c.native = str_eq(subdir, h->subdir);
	c.record = arena_array(a, struct pkg_record, VIRTUAL_MAX);
	if (collect(&c) < 0)
		return -1;
	*ret = c.record;
	*ret_n = c.n;
	return 0;
}

int channel_virtual(struct arena *a, struct str subdir, const char *(*env)(const char *), struct pkg_record **ret,
		    size_t *ret_n, struct err *e)
{
	struct virtual_host here = {.subdir = channel_host_subdir(), .root = "", .libcuda = "libcuda.so.1"};
	return virtual_of_host(&here, a, subdir, env, ret, ret_n, e);
}
