// SPDX-License-Identifier: Apache-2.0
/*
 * What the host says of itself: a platform, then /proc/cpuinfo and a kernel's release, or CONDA_OVERRIDE_* (NAME=value
 * lines, which come first). The virtual packages that come of it are packages: a spec finds each of them.
 */
#include "channel/channel.h"
#include "channel/virtual.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *values[8];
static const char *const names[8] = {"ARCHSPEC", "CUDA", "CUDA_ARCH", "GLIBC", "LINUX", "OSX", "WIN", ""};

static const char *environment(const char *name)
{
	for (size_t i = 0; i < 8; i++)
		if (strcmp(name + strlen("CONDA_OVERRIDE_"), names[i]) == 0)
			return values[i];
	return NULL;
}

static void take_overrides(struct arena *a, struct str *rest)
{
	struct str line, name, before = *rest;
	memset(values, 0, sizeof(values));
	values[1] = ""; /* no card is asked */
	while (str_take_line(rest, &line) && str_take_until(&line, '=', &name)) {
		before = *rest;
		for (size_t i = 0; i < 8; i++)
			if (str_eq_c(name, names[i]) && !memchr(line.p, '\0', line.n))
				values[i] = arena_strdup(a, line);
	}
	*rest = before;
}

static void check_record(struct arena *a, const struct pkg_record *r)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_str(&b, r->name);
	buf_put_c(&b, "==");
	buf_put_str(&b, r->version);
	buf_put_char(&b, '=');
	buf_put_str(&b, r->build);
	if (pkg_name_check(r->name, &e) < 0 || pkg_build_check(r->build, &e) < 0 || !str_starts(r->name, STR("__")))
		panic("'%s': %s", b.p, e.msg);
	const struct spec *spec = pkg_conda.spec_parse(a, buf_str(&b), SPEC_REQUEST, &e);
	if (!spec || !pkg_conda.spec_match(spec, r))
		panic("'%s' does not match itself: %s", b.p, e.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct str rest = str_of((const char *)data, size), subdir, arch;
	struct pkg_record *r;
	struct err e = ERR_INIT;
	size_t n;
	if (!str_take_line(&rest, &subdir))
		return 0;
	take_overrides(&a, &rest);
	if (channel_virtual(&a, subdir, environment, &r, &n, &e) < 0) {
		if (!e.msg[0])
			panic("no reason");
	} else {
		for (size_t i = 0; i < n; i++)
			check_record(&a, &r[i]);
	}
	arch = subdir;
	if (!str_take_until(&arch, '-', &subdir))
		return 0;
	struct str found = archspec_detect(rest, arch), family = archspec_family(arch);
	if ((found.n == 0) != (family.n == 0) || (found.n && pkg_build_check(found, &e) < 0))
		panic("processor '%.*s' of '%.*s'", STR_ARG(found), STR_ARG(family));
	struct str kernel = kernel_version(rest);
	for (size_t i = 0; i < kernel.n; i++)
		if (kernel.p[i] != '.' && (kernel.p[i] < '0' || kernel.p[i] > '9'))
			panic("kernel '%.*s'", STR_ARG(kernel));
	return 0;
}
