// SPDX-License-Identifier: Apache-2.0
/*
 * The system call filter: a list of what is denied, as a balanced tree of comparisons, so that the kernel (which runs the
 * program once for each system call number when it is loaded) and each call are done in a few steps. Made by hand in place of
 * libseccomp: doc/decisions/0070-sandbox.md has the figures.
 *
 * What is denied is what Docker's default profile denies to a container without added capabilities; numbers later than the kernels known
 * here get ENOSYS, as calls do that a kernel lacks. Calls of 32-bit programs have a table of their own; x32 is not there.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/box.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define NATIVE AUDIT_ARCH_PPC64LE
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE AUDIT_ARCH_RISCV64
#else
#error "name this architecture's AUDIT_ARCH here and check the order of clone's arguments"
#endif

enum what {
	DENY,	     /* EPERM */
	NEST,	     /* EPERM, unless sandboxes may be made inside */
	ABSENT,	     /* ENOSYS: the C library falls back */
	CLONE,	     /* EPERM with a flag of a new namespace in argument 0, unless as above */
	IOCTL,	     /* EPERM for what writes into a terminal's input */
	SOCKET,	     /* EAFNOSUPPORT for families that reach the host or an attackable part of the kernel */
	PERSONALITY, /* EPERM for all but the usual ones */
	SYNC,	     /* 0 without doing it, where asked */
	CHOWN,	     /* 0 without doing it, where there is one id */
};

struct rule {
	int nr;
	enum what what;
};

/* First number that is not known here: Linux 6.18 ends with file_setattr, 469. */
enum { FIRST_UNKNOWN = 470 };

/* The same numbers on every architecture. */
#define COMMON                                                                                                         \
	{425, DENY} /* io_uring_setup */, {426, DENY}, {427, DENY}, {428, NEST} /* open_tree */,                       \
		{429, NEST} /* move_mount */, {430, NEST} /* fsopen */, {431, NEST} /* fsconfig */,                    \
		{432, NEST} /* fsmount */, {433, DENY} /* fspick */,                                                   \
		{435, ABSENT} /* clone3: flags behind a pointer */, {438, DENY} /* pidfd_getfd */,                     \
		{440, DENY} /* process_madvise */, {442, NEST} /* mount_setattr */, {443, DENY} /* quotactl_fd */,     \
		{450, DENY} /* set_mempolicy_home_node */,                                                             \
	{                                                                                                              \
		467, DENY                                                                                              \
	} /* open_tree_attr */

static const struct rule native[] = {
	COMMON,
	{SYS_acct, DENY},
	{SYS_add_key, DENY},
	{SYS_bpf, DENY},
	{SYS_clock_adjtime, DENY},
	{SYS_clock_settime, DENY},
	{SYS_clone, CLONE},
	{SYS_delete_module, DENY},
	{SYS_fanotify_init, DENY},
	{SYS_finit_module, DENY},
	{SYS_get_mempolicy, DENY},
	{SYS_init_module, DENY},
	{SYS_ioctl, IOCTL},
	{SYS_kcmp, DENY},
	{SYS_kexec_load, DENY},
#ifdef SYS_kexec_file_load
	{SYS_kexec_file_load, DENY},
#endif
	{SYS_keyctl, DENY},
	{SYS_lookup_dcookie, DENY},
	{SYS_mbind, DENY},
	{SYS_migrate_pages, DENY},
	{SYS_mount, NEST},
	{SYS_move_pages, DENY},
	{SYS_nfsservctl, DENY},
	{SYS_open_by_handle_at, DENY},
	{SYS_perf_event_open, DENY},
	{SYS_personality, PERSONALITY},
	{SYS_pivot_root, NEST},
	{SYS_quotactl, DENY},
	{SYS_reboot, DENY},
	{SYS_request_key, DENY},
	{SYS_set_mempolicy, DENY},
	{SYS_setdomainname, NEST},
	{SYS_sethostname, NEST},
	{SYS_setns, NEST},
	{SYS_settimeofday, DENY},
	{SYS_socket, SOCKET},
	{SYS_socketpair, SOCKET},
	{SYS_swapoff, DENY},
	{SYS_swapon, DENY},
	{SYS_syslog, DENY},
	{SYS_umount2, NEST},
	{SYS_unshare, CLONE},
	{SYS_userfaultfd, DENY},
	{SYS_vhangup, DENY},
	{SYS_fsync, SYNC},
	{SYS_fdatasync, SYNC},
	{SYS_msync, SYNC},
	{SYS_sync, SYNC},
	{SYS_syncfs, SYNC},
#ifdef SYS_sync_file_range
	{SYS_sync_file_range, SYNC},
#else
	{SYS_sync_file_range2, SYNC},
#endif
	{SYS_fchown, CHOWN},
	{SYS_fchownat, CHOWN},
#ifdef SYS_chown
	{SYS_chown, CHOWN},
	{SYS_lchown, CHOWN},
#endif
#ifdef __x86_64__
	{SYS__sysctl, DENY},
	{SYS_create_module, DENY},
	{SYS_get_kernel_syms, DENY},
	{SYS_ioperm, DENY},
	{SYS_iopl, DENY},
	{SYS_modify_ldt, DENY},
	{SYS_query_module, DENY},
	{SYS_sysfs, DENY},
	{SYS_uselib, DENY},
	{SYS_ustat, DENY},
#endif
};

#ifdef __x86_64__
/* socketcall passes its arguments behind a pointer: its families cannot be told apart, as in Docker's profile. */
static const struct rule compat[] = {
	COMMON,
	{51, DENY} /* acct */,
	{286, DENY} /* add_key */,
	{357, DENY} /* bpf */,
	{343, DENY} /* clock_adjtime */,
	{405, DENY} /* clock_adjtime64 */,
	{264, DENY} /* clock_settime */,
	{404, DENY} /* clock_settime64 */,
	{120, CLONE},
	{127, DENY} /* create_module */,
	{129, DENY} /* delete_module */,
	{338, DENY} /* fanotify_init */,
	{350, DENY} /* finit_module */,
	{130, DENY} /* get_kernel_syms */,
	{275, DENY} /* get_mempolicy */,
	{128, DENY} /* init_module */,
	{54, IOCTL},
	{101, DENY} /* ioperm */,
	{110, DENY} /* iopl */,
	{349, DENY} /* kcmp */,
	{283, DENY} /* kexec_load */,
	{288, DENY} /* keyctl */,
	{253, DENY} /* lookup_dcookie */,
	{274, DENY} /* mbind */,
	{294, DENY} /* migrate_pages */,
	{21, NEST} /* mount */,
	{317, DENY} /* move_pages */,
	{169, DENY} /* nfsservctl */,
	{342, DENY} /* open_by_handle_at */,
	{336, DENY} /* perf_event_open */,
	{136, PERSONALITY},
	{217, NEST} /* pivot_root */,
	{167, DENY} /* query_module */,
	{131, DENY} /* quotactl */,
	{88, DENY} /* reboot */,
	{287, DENY} /* request_key */,
	{276, DENY} /* set_mempolicy */,
	{121, NEST} /* setdomainname */,
	{74, NEST} /* sethostname */,
	{346, NEST} /* setns */,
	{79, DENY} /* settimeofday */,
	{359, SOCKET},
	{360, SOCKET} /* socketpair */,
	{25, DENY} /* stime */,
	{115, DENY} /* swapoff */,
	{87, DENY} /* swapon */,
	{149, DENY} /* _sysctl */,
	{135, DENY} /* sysfs */,
	{103, DENY} /* syslog */,
	{22, NEST} /* umount */,
	{52, NEST} /* umount2 */,
	{310, CLONE} /* unshare */,
	{86, DENY} /* uselib */,
	{374, DENY} /* userfaultfd */,
	{62, DENY} /* ustat */,
	{111, DENY} /* vhangup */,
	{166, DENY} /* vm86 */,
	{113, DENY} /* vm86old */,
	{118, SYNC} /* fsync */,
	{148, SYNC} /* fdatasync */,
	{144, SYNC} /* msync */,
	{36, SYNC} /* sync */,
	{344, SYNC} /* syncfs */,
	{314, SYNC} /* sync_file_range */,
	{182, CHOWN} /* chown */,
	{212, CHOWN} /* chown32 */,
	{95, CHOWN} /* fchown */,
	{207, CHOWN} /* fchown32 */,
	{298, CHOWN} /* fchownat */,
	{16, CHOWN} /* lchown */,
	{198, CHOWN} /* lchown32 */,
};
#endif

enum {
	/* NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET; NEWTIME is among clone's signal bits, and unshare's alone */
	NAMESPACES = 0x7e020000,
	TERMINAL_INPUT = 0x5412,   /* TIOCSTI */
	TERMINAL_CONSOLE = 0x541c, /* TIOCLINUX */
	FAMILY_ALG = 38,
	FAMILY_VSOCK = 40,
};

enum { LEAF = 9 }; /* rules compared one by one at the end of a path through the tree */

struct program {
	struct sock_filter *out;
	size_t n, cap;
	unsigned flags;
};

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	if (p->n == p->cap)
		panic("sandbox: filter longer than %zu instructions", p->cap);
	p->out[p->n++] = (struct sock_filter){code, yes, no, k};
}

static void put_return(struct program *p, uint32_t action)
{
	put(p, BPF_RET | BPF_K, action, 0, 0);
}

static void put_errno(struct program *p, int errnum)
{
	put_return(p, SECCOMP_RET_ERRNO | (uint32_t)errnum);
}

static void put_load_arg(struct program *p, unsigned i)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint32_t low = 0;
#else
	uint32_t low = 4;
#endif
	put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args) + i * 8 + low, 0, 0);
}

/* What happens to one denied number. Only the low half of an argument is compared: the kernel uses no more of these. */
static void put_action(struct program *p, enum what what)
{
	static const uint32_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff};
	switch (what) {
	case DENY:
	case NEST:
		put_errno(p, EPERM);
		return;
	case ABSENT:
		put_errno(p, ENOSYS);
		return;
	case SYNC:
	case CHOWN:
		put_errno(p, 0);
		return;
	case CLONE:
		put_load_arg(p, 0);
		put(p, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1);
		put_errno(p, EPERM);
		break;
	case IOCTL:
		put_load_arg(p, 1);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, TERMINAL_INPUT, 1, 0);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, TERMINAL_CONSOLE, 0, 1);
		put_errno(p, EPERM);
		break;
	case SOCKET:
		put_load_arg(p, 0);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, FAMILY_ALG, 1, 0);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, FAMILY_VSOCK, 0, 1);
		put_errno(p, EAFNOSUPPORT);
		break;
	case PERSONALITY:
		put_load_arg(p, 0);
		for (size_t i = 0; i < sizeof(personalities) / sizeof(*personalities); i++) {
			put(p, BPF_JMP | BPF_JEQ | BPF_K, personalities[i], 0, 1);
			put_return(p, SECCOMP_RET_ALLOW);
		}
		put_errno(p, EPERM);
		return;
	}
	put_return(p, SECCOMP_RET_ALLOW);
}

/* A few rules: compared one after the other, what happens to them behind, once for all that are simply denied. */
static void put_leaf(struct program *p, const struct rule *rules, size_t n)
{
	size_t first = p->n;
	for (size_t i = 0; i < n; i++)
		put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rules[i].nr, 0, 0);
	put_return(p, SECCOMP_RET_ALLOW);
	size_t denied = 0;
	for (size_t i = 0; i < n; i++) {
		size_t at = rules[i].what == DENY && denied ? denied : p->n;
		if (at == p->n)
			put_action(p, rules[i].what);
		if (rules[i].what == DENY)
			denied = at;
		p->out[first + i].jt = (uint8_t)(at - (first + i) - 1);
	}
}

/* Rules lo..hi-1, sorted. The left half is jumped over by a jump of its own: conditional ones reach 255 instructions. Depth: log2 of
 * the rules. */
static void put_tree(struct program *p, const struct rule *rules, size_t lo, size_t hi)
{
	if (hi - lo <= LEAF) {
		put_leaf(p, rules + lo, hi - lo);
		return;
	}
	size_t mid = lo + (hi - lo) / 2;
	put(p, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)rules[mid].nr, 0, 1);
	size_t jump = p->n;
	put(p, BPF_JMP | BPF_JA, 0, 0, 0);
	put_tree(p, rules, lo, mid);
	p->out[jump].k = (uint32_t)(p->n - jump - 1);
	put_tree(p, rules, mid, hi);
}

static int cmp_rule(const void *a, const void *b)
{
	return ((const struct rule *)a)->nr - ((const struct rule *)b)->nr;
}

static bool is_wanted(enum what what, unsigned flags)
{
	switch (what) {
	case SYNC:
		return flags & BOX_FILTER_SYNC;
	case CHOWN:
		return flags & BOX_FILTER_CHOWN;
	case NEST:
	case CLONE:
		return !(flags & BOX_FILTER_NESTED);
	case DENY:
	case ABSENT:
	case IOCTL:
	case SOCKET:
	case PERSONALITY:
		break;
	}
	return true;
}

static void put_table(struct program *p, const struct rule *table, size_t n)
{
	struct rule rules[128];
	size_t k = 0;
	for (size_t i = 0; i < n && k < sizeof(rules) / sizeof(*rules); i++)
		if (is_wanted(table[i].what, p->flags))
			rules[k++] = table[i];
	qsort(rules, k, sizeof(*rules), cmp_rule);
	put(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	put(p, BPF_JMP | BPF_JGE | BPF_K, FIRST_UNKNOWN, 0, 1);
	put_errno(p, ENOSYS);
	put_tree(p, rules, 0, k);
}

size_t box_filter_make(unsigned flags, struct sock_filter *out, size_t cap)
{
	struct program p = {.out = out, .cap = cap, .flags = flags};
	put(&p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	put(&p, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 0, 1);
	size_t jump = p.n;
	put(&p, BPF_JMP | BPF_JA, 0, 0, 0);
#ifdef __x86_64__
	put(&p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 1, 0);
	put_errno(&p, ENOSYS);
	put_table(&p, compat, sizeof(compat) / sizeof(*compat));
#else
	put_errno(&p, ENOSYS);
#endif
	p.out[jump].k = (uint32_t)(p.n - jump - 1);
	put_table(&p, native, sizeof(native) / sizeof(*native));
	return p.n;
}

int box_filter_load(unsigned flags)
{
	struct sock_filter program[BOX_FILTER_CAP];
	struct sock_fprog prog = {.filter = program};
	prog.len = (unsigned short)box_filter_make(flags, program, BOX_FILTER_CAP);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}
