// SPDX-License-Identifier: Apache-2.0
/* Virtual packages (CEP 30, CEP 46): of this host, of others, and as the environment says. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "channel/channel.h"
#include "channel/virtual.h"
#include "lib/test.h"

/* An environment of the test's own: name, value, name, value, … */
static const char *const *environment_now;

static const char *env(const char *name)
{
	for (const char *const *p = environment_now; p && *p; p += 2)
		if (strcmp(p[0], name) == 0)
			return p[1];
	return NULL;
}
#define ENVIRONMENT(...) (environment_now = (const char *const[]){__VA_ARGS__, NULL})

/* The host that `of` looks at; NULL: this one. */
static const struct virtual_host *host;

/* "version=build" of a virtual package, "" where it is absent. */
static const char *of(const char *subdir, const char *name)
{
	static char out[256];
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct pkg_record *r;
	size_t n;
	int rc = host ? virtual_of_host(host, &a, str_c(subdir), env, &r, &n, &e)
		      : channel_virtual(&a, str_c(subdir), env, &r, &n, &e);
	CHECK_MSG(rc == 0, "%s", e.msg);
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		CHECK(str_eq_c(r[i].channel, "virtual"));
		CHECK_INT(pkg_name_check(r[i].name, &e), 0);
		CHECK_INT(pkg_version_check(r[i].version, &e), 0);
		CHECK_INT(pkg_build_check(r[i].build, &e), 0);
		if (str_eq_c(r[i].name, name))
			snprintf(out, sizeof(out), "%.*s=%.*s", STR_ARG(r[i].version), STR_ARG(r[i].build));
	}
	return out;
}

static void check_refused(const char *subdir, const char *variable)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct pkg_record *r;
	size_t n;
	CHECK_INT(channel_virtual(&a, str_c(subdir), env, &r, &n, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
	CHECK_MSG(strstr(e.msg, variable), "%s", e.msg);
}

/* A subdir that is not this machine's. */
static const char *foreign(void)
{
	return str_eq_c(channel_host_subdir(), "linux-64") ? "linux-aarch64" : "linux-64";
}

TEST(this_host)
{
	char subdir[40];
	environment_now = NULL;
	snprintf(subdir, sizeof(subdir), "%.*s", STR_ARG(channel_host_subdir()));
	CHECK_STR(of(subdir, "__unix"), "0=0");
	CHECK_STR(of(subdir, "__win"), "");
	CHECK_STR(of(subdir, "__osx"), "");
	CHECK(strlen(of(subdir, "__linux")) > strlen("0=0"));
	CHECK(of(subdir, "__linux")[0] != '0');
	CHECK(strncmp(of(subdir, "__archspec"), "1=", 2) == 0);
	char libc[64];
	if (confstr(_CS_GNU_LIBC_VERSION, libc, sizeof(libc)) > 0) {
		char want[64];
		snprintf(want, sizeof(want), "%s=0", libc + strlen("glibc "));
		CHECK_STR(of(subdir, "__glibc"), want);
	}
}

TEST(other_hosts)
{
	environment_now = NULL;
	CHECK_STR(of(foreign(), "__glibc"), "2.17=0");
	CHECK_STR(of(foreign(), "__unix"), "0=0");
	CHECK_STR(of(foreign(), "__cuda"), "");
	CHECK_STR(of("osx-arm64", "__osx"), "0=0");
	CHECK_STR(of("osx-arm64", "__unix"), "0=0");
	CHECK_STR(of("osx-arm64", "__glibc"), "");
	CHECK_STR(of("osx-arm64", "__linux"), "");
	CHECK_STR(of("osx-arm64", "__archspec"), "1=aarch64");
	CHECK_STR(of("osx-64", "__archspec"), "1=x86_64");
	CHECK_STR(of("win-64", "__win"), "0=0");
	CHECK_STR(of("win-64", "__unix"), "");
	CHECK_STR(of("win-32", "__archspec"), "1=x86");
	CHECK_STR(of("linux-s390x", "__archspec"), "0=s390x");
	CHECK_STR(of("emscripten-wasm32", "__unix"), "0=0");
	CHECK_STR(of("emscripten-wasm32", "__archspec"), "0=wasm32");
	CHECK_STR(of("noarch", "__archspec"), "0=noarch");
	CHECK_STR(of("noarch", "__unix"), "");
}

TEST(overrides)
{
	ENVIRONMENT("CONDA_OVERRIDE_GLIBC", "2.99", "CONDA_OVERRIDE_LINUX", "5.4.1", "CONDA_OVERRIDE_CUDA", "12.4",
		    "CONDA_OVERRIDE_CUDA_ARCH", "8.6", "CONDA_OVERRIDE_OSX", "14.2", "CONDA_OVERRIDE_WIN", "10.0.19041",
		    "CONDA_OVERRIDE_ARCHSPEC", "zen3", "CONDA_OVERRIDE_UNIX", "7");
	CHECK_STR(of("linux-64", "__glibc"), "2.99=0");
	CHECK_STR(of("linux-64", "__linux"), "5.4.1=0");
	CHECK_STR(of("linux-64", "__cuda"), "12.4=0");
	CHECK_STR(of("linux-64", "__cuda_arch"), "8.6=0");
	CHECK_STR(of("linux-64", "__archspec"), "1=zen3");
	CHECK_STR(of("linux-64", "__unix"), "0=0");
	CHECK_STR(of("linux-64", "__osx"), "");
	CHECK_STR(of("osx-64", "__osx"), "14.2=0");
	CHECK_STR(of("osx-64", "__glibc"), "");
	CHECK_STR(of("win-64", "__win"), "10.0.19041=0");
	CHECK_STR(of("win-64", "__cuda"), "12.4=0");
}

TEST(empty_overrides)
{
	ENVIRONMENT("CONDA_OVERRIDE_GLIBC", "", "CONDA_OVERRIDE_LINUX", "", "CONDA_OVERRIDE_CUDA", "",
		    "CONDA_OVERRIDE_ARCHSPEC", "", "CONDA_OVERRIDE_OSX", "");
	CHECK_STR(of("linux-64", "__glibc"), "");
	CHECK_STR(of("linux-64", "__cuda"), "");
	CHECK(of("linux-64", "__linux")[0] != '\0');
	CHECK(of("linux-64", "__archspec")[0] == '1');
	CHECK_STR(of("osx-64", "__osx"), "0=0");
	ENVIRONMENT("CONDA_OVERRIDE_CUDA", "12.4", "CONDA_OVERRIDE_CUDA_ARCH", "");
	CHECK_STR(of("linux-64", "__cuda_arch"), "");
	ENVIRONMENT("CONDA_OVERRIDE_CUDA", "", "CONDA_OVERRIDE_CUDA_ARCH", "8.6");
	CHECK_STR(of("linux-64", "__cuda_arch"), ""); /* never without __cuda */
}

TEST(overrides_that_are_none)
{
	ENVIRONMENT("CONDA_OVERRIDE_GLIBC", "new");
	CHECK_STR(of("linux-64", "__glibc"), "new=0"); /* CEP 33 allows words */
	ENVIRONMENT("CONDA_OVERRIDE_GLIBC", "2 17");
	check_refused("linux-64", "CONDA_OVERRIDE_GLIBC");
	CHECK_STR(of("osx-64", "__osx"), "0=0"); /* of no concern there */
	ENVIRONMENT("CONDA_OVERRIDE_LINUX", "6");
	check_refused("linux-64", "CONDA_OVERRIDE_LINUX");
	ENVIRONMENT("CONDA_OVERRIDE_LINUX", "6.99999999999");
	check_refused("linux-64", "CONDA_OVERRIDE_LINUX");
	ENVIRONMENT("CONDA_OVERRIDE_LINUX", "6.1.0-18-amd64");
	check_refused("linux-64", "CONDA_OVERRIDE_LINUX");
	ENVIRONMENT("CONDA_OVERRIDE_ARCHSPEC", "zen 3");
	check_refused("linux-64", "CONDA_OVERRIDE_ARCHSPEC");
	ENVIRONMENT("CONDA_OVERRIDE_CUDA", "12.4", "CONDA_OVERRIDE_CUDA_ARCH", "sm_86");
	check_refused("linux-64", "CONDA_OVERRIDE_CUDA_ARCH");
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct pkg_record *r;
	size_t n;
	CHECK_INT(channel_virtual(&a, STR("../x"), env, &r, &n, &e), -1);
}

static void check_kernel(const char *release, const char *want)
{
	char got[64];
	struct str v = kernel_version(str_c(release));
	snprintf(got, sizeof(got), "%.*s", STR_ARG(v));
	CHECK_STR(got, want);
}

TEST(kernel_releases)
{
	check_kernel("6.1.0-18-amd64", "6.1.0");
	check_kernel("5.15.153.1-microsoft-standard-WSL2", "5.15.153.1");
	check_kernel("4.18.0-513.5.1.el8_9.x86_64", "4.18.0");
	check_kernel("6.18", "6.18");
	check_kernel("6.8.0.rc1", "6.8.0");
	check_kernel("6.", "6");
	check_kernel("1.2.3.4.5", "1.2.3.4");
	check_kernel("rolling", "");
}

static void check_archspec(const char *arch, const char *vendor_key, const char *vendor, const char *features_key,
			   const char *features, const char *want)
{
	auto_buf b = BUF_INIT(4096);
	char got[64];
	buf_printf(&b, "processor\t: 0\n%s\t: %s\nmodel\t: 1\n%s\t\t: %s\n\nprocessor\t: 1\n", vendor_key, vendor,
		   features_key, features);
	struct str name = archspec_detect(buf_str(&b), str_c(arch));
	snprintf(got, sizeof(got), "%.*s", STR_ARG(name));
	CHECK_STR(got, want);
}

#define V2 "cx16 lahf_lm mmx popcnt sse sse2 sse4_1 sse4_2 ssse3 "
#define V3 V2 "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave "
#define V4 V3 "avx512bw avx512cd avx512dq avx512f avx512vl "
#define ZEN2 "aes clflushopt clzero fsgsbase pclmulqdq rdseed sse4a xsavec xsaveopt clwb "
#define BROADWELL "aes pclmulqdq rdrand adx rdseed "

TEST(micro_architectures)
{
	check_archspec("64", "vendor_id", "Unheard", "flags", "mmx", "x86_64");
	check_archspec("64", "vendor_id", "Unheard", "flags", V2, "x86_64_v2");
	check_archspec("64", "vendor_id", "Unheard", "flags", V3 "sse4a", "x86_64_v3");
	check_archspec("64", "vendor_id", "Unheard", "flags", V4, "x86_64_v4");
	check_archspec("64", "vendor_id", "GenuineIntel", "flags", "mmx sse sse2 pni", "nocona");
	check_archspec("64", "vendor_id", "GenuineIntel", "flags", V2, "nehalem");
	check_archspec("64", "vendor_id", "GenuineIntel", "flags", V3 BROADWELL, "broadwell");
	check_archspec("64", "vendor_id", "GenuineIntel", "flags", V3 BROADWELL "clflushopt xsavec xsaveopt",
		       "skylake");
	check_archspec("64", "vendor_id", "GenuineIntel", "flags", V4 BROADWELL "clflushopt xsavec xsaveopt clwb",
		       "skylake_avx512");
	check_archspec("64", "vendor_id", "AuthenticAMD", "flags", V3 ZEN2, "zen2");
	check_archspec("64", "vendor_id", "AuthenticAMD", "flags", V3 ZEN2 "pku vaes vpclmulqdq", "zen3");
	/* zen4 without pku: known by its level, which promises more than zen2 */
	check_archspec("64", "vendor_id", "AuthenticAMD", "flags", V4 ZEN2 "vaes", "x86_64_v4");
	check_archspec(
		"aarch64", "CPU implementer", "0x41", "Features",
		"fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs",
		"neoverse_n1");
	check_archspec("aarch64", "CPU implementer", "0x41", "Features", "fp asimd", "aarch64");
	check_archspec("ppc64le", "cpu", "POWER9, altivec supported", "x", "", "power9le");
	check_archspec("ppc64le", "cpu", "POWER10 (raw)", "x", "", "power10le");
	check_archspec("riscv64", "x", "", "y", "", "riscv64");
	check_archspec("s390x", "x", "", "y", "", "");
	CHECK(str_eq_c(archspec_detect(STR(""), STR("64")), "x86_64"));
}

/* -- hosts that are made up ---------------------------------------------------------------------------------------- */

static struct virtual_host made_up;
static char library[4096];

static void put(const char *path, const char *text)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	char *full = arena_printf(&a, "%s%s", test_tmp(), path), *folder = arena_strdup(&a, str_c(full));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_mkdirs(AT_FDCWD, folder, 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, full, text, strlen(text), 0, &e), 0);
}

/* The driver's library beside this program; how it is, FAKE_CUDA says. */
static void make_host(const char *subdir)
{
	ssize_t n = readlink("/proc/self/exe", library, sizeof(library) - 32);
	CHECK(n > 0);
	library[n] = '\0';
	char *slash = strrchr(library, '/');
	snprintf(slash, sizeof(library) - (size_t)(slash - library), "/libfake_cuda.so");
	made_up = (struct virtual_host){.subdir = str_c(subdir), .root = test_tmp(), .libcuda = library};
	host = &made_up;
	environment_now = NULL;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

TEST(a_driver_says_its_version_and_the_least_device)
{
	make_host("linux-64");
	CHECK_STR(of("linux-64", "__cuda"), ""); /* no trace of a driver: nobody is asked */
	put("/dev/nvidiactl", "");
	CHECK_STR(of("linux-64", "__cuda"), "12.4=0");
	CHECK_STR(of("linux-64", "__cuda_arch"), "7.5=0");
	CHECK_STR(of("linux-aarch64", "__cuda"), ""); /* for another machine */
	ENVIRONMENT("CONDA_OVERRIDE_CUDA", "11.8");
	CHECK_STR(of("linux-64", "__cuda"), "11.8=0");
	ENVIRONMENT("CONDA_OVERRIDE_CUDA_ARCH", "8.6");
	CHECK_STR(of("linux-64", "__cuda"), "12.4=0");
	CHECK_STR(of("linux-64", "__cuda_arch"), "8.6=0");
	ENVIRONMENT("CONDA_OVERRIDE_CUDA", "");
	CHECK_STR(of("linux-64", "__cuda"), "");
}

TEST(each_trace_of_a_driver_counts)
{
	static const char *const traces[] = {"/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg",
					     "/dev/nvhost-ctrl", "/dev/nvmap"};
	struct err e = ERR_INIT;
	make_host("linux-64");
	for (size_t i = 0; i < sizeof(traces) / sizeof(*traces); i++) {
		put(traces[i], "");
		CHECK_STR(of("linux-64", "__cuda"), "12.4=0");
		CHECK_INT(fs_remove_tree(AT_FDCWD, test_tmp(), &e), 0);
	}
}

TEST(a_driver_that_is_broken)
{
	make_host("linux-64");
	put("/dev/nvidiactl", "");
	static const char *const none[] = {"crashes", "nonsense", "refuses"};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		setenv("FAKE_CUDA", none[i], 1);
		CHECK_STR(of("linux-64", "__cuda"), "");
		CHECK_STR(of("linux-64", "__cuda_arch"), "");
	}
	setenv("FAKE_CUDA", "no device", 1);
	CHECK_STR(of("linux-64", "__cuda"), "12.4=0");
	CHECK_STR(of("linux-64", "__cuda_arch"), "");
	made_up.libcuda = "libslipway-is-not-there.so.1";
	CHECK_STR(of("linux-64", "__cuda"), "");
}

TEST(a_driver_that_hangs_is_left)
{
	make_host("linux-64");
	put("/dev/nvidiactl", "");
	setenv("FAKE_CUDA", "hangs later", 1);
	int64_t before = now_ms();
	CHECK_STR(of("linux-64", "__cuda"), "12.4=0"); /* what it said before counts */
	CHECK(now_ms() - before < 6000);
}

/* What cpuinfo says on machines that people have, cut to the first processor. */
static const struct {
	const char *implementer, *part, *features, *want;
} arm[] = {
	/* a Raspberry Pi 4 has no crypto: less than a cortex_a72 */
	{"0x41", "0xd08", "fp asimd evtstrm crc32 cpuid", "aarch64"},
	/* AWS Graviton, first generation */
	{"0x41", "0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid", "cortex_a72"},
	/* AWS Graviton2, Ampere Altra */
	{"0x41", "0xd0c",
	 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs",
	 "neoverse_n1"},
	/* AWS Graviton3 */
	{"0x41", "0xd40",
	 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 "
	 "sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs paca pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng",
	 "neoverse_v1"},
	/* NVIDIA Grace, AWS Graviton4 */
	{"0x41", "0xd4f",
	 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 "
	 "sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg dcpodp sve2 sveaes svepmull svebitperm "
	 "svesha3 svesm4 flagm2 frint svei8mm svebf16 i8mm bf16 dgh bti",
	 "neoverse_v2"},
	/* Cavium ThunderX2 */
	{"0x43", "0x0af", "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics cpuid asimdrdm", "thunderx2"},
	/* Fujitsu A64FX */
	{"0x46", "0x001", "fp asimd evtstrm sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm fcma dcpop sve",
	 "a64fx"},
	/* an Apple M1 under Linux: a vendor without a row */
	{"0x61", "0x022",
	 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 "
	 "asimddp sha512 asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg dcpodp flagm2 frint",
	 "aarch64"},
};

TEST(arm_machines)
{
	make_host("linux-aarch64");
	for (size_t i = 0; i < sizeof(arm) / sizeof(*arm); i++) {
		auto_buf b = BUF_INIT(8192);
		char want[64];
		for (int cpu = 0; cpu < 4; cpu++)
			buf_printf(&b,
				   "processor\t: %d\nBogoMIPS\t: 100.00\nFeatures\t: %s\nCPU implementer\t: %s\n"
				   "CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: %s\nCPU revision\t: 1\n\n",
				   cpu, arm[i].features, arm[i].implementer, arm[i].part);
		put("/proc/cpuinfo", b.p);
		snprintf(want, sizeof(want), "1=%s", arm[i].want);
		CHECK_STR(of("linux-aarch64", "__archspec"), want);
	}
	CHECK_STR(of("linux-64", "__archspec"), "1=x86_64"); /* another machine's */
	struct err e = ERR_INIT;
	CHECK_INT(fs_remove_tree(AT_FDCWD, test_tmp(), &e), 0);
	CHECK_STR(of("linux-aarch64", "__archspec"), "1=aarch64"); /* no cpuinfo at all */
}
