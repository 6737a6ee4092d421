// SPDX-License-Identifier: Apache-2.0
/* The system call filter, run here as the kernel runs it. */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "lib/test.h"
#include "sandbox/box.h"

static struct sock_filter program[BOX_FILTER_CAP];
static size_t n_program;

/* The few instructions that a filter of ours has; anything else ends the test. */
static uint32_t run(uint32_t arch, int nr, uint64_t arg0, uint64_t arg1)
{
	struct seccomp_data data = {.nr = nr, .arch = arch, .args = {arg0, arg1}};
	uint32_t acc = 0;
	for (size_t at = 0, steps = 0; at < n_program; at++, steps++) {
		const struct sock_filter *f = &program[at];
		CHECK(steps < 40); /* a tree, not a list */
		bool yes = false;
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			CHECK(f->k % 4 == 0 && f->k + 4 <= sizeof(data));
			memcpy(&acc, (const char *)&data + f->k, 4);
			continue;
		case BPF_RET | BPF_K:
			return f->k;
		case BPF_JMP | BPF_JA:
			at += f->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = acc == f->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = acc >= f->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = acc & f->k;
			break;
		default:
			test_fail(__FILE__, __LINE__, "instruction %zu has code %#x", at, f->code);
		}
		at += yes ? f->jt : f->jf;
	}
	test_fail(__FILE__, __LINE__, "fell off the end");
}

#ifdef __x86_64__
enum { NATIVE = AUDIT_ARCH_X86_64 };
#else
enum { NATIVE = AUDIT_ARCH_AARCH64 };
#endif
#define FAILS(errnum) (SECCOMP_RET_ERRNO | (uint32_t)(errnum))

static void make(unsigned flags)
{
	n_program = box_filter_make(flags, program, BOX_FILTER_CAP);
}

TEST(what_is_denied)
{
	static const int denied[] = {SYS_mount,
				     SYS_umount2,
				     SYS_pivot_root,
				     SYS_setns,
				     SYS_bpf,
				     SYS_keyctl,
				     SYS_add_key,
				     SYS_request_key,
				     SYS_kexec_load,
				     SYS_init_module,
				     SYS_finit_module,
				     SYS_delete_module,
				     SYS_perf_event_open,
				     SYS_userfaultfd,
				     SYS_open_by_handle_at,
				     SYS_reboot,
				     SYS_swapon,
				     SYS_swapoff,
				     SYS_acct,
				     SYS_quotactl,
				     SYS_settimeofday,
				     SYS_syslog,
				     SYS_fanotify_init,
				     425,
				     426,
				     427,
				     428,
				     429,
				     430,
				     431,
				     432,
				     433,
				     442};
	make(0);
	for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++)
		CHECK_MSG(run(NATIVE, denied[i], 0, 0) == FAILS(EPERM), "call %d", denied[i]);
	CHECK_INT(run(NATIVE, 435, 0, 0), FAILS(ENOSYS));
}

TEST(what_is_allowed)
{
	static const int allowed[] = {SYS_read,
				      SYS_write,
				      SYS_openat,
				      SYS_execve,
				      SYS_chroot,
				      SYS_ptrace,
				      SYS_fchown,
				      SYS_fsync,
				      SYS_setresuid,
				      SYS_mknodat,
				      SYS_prctl,
				      SYS_seccomp,
				      SYS_sync,
				      SYS_msync,
				      SYS_memfd_create,
				      437 /* openat2 */,
				      439 /* faccessat2 */,
				      449 /* futex_waitv */,
				      452 /* fchmodat2 */,
				      469};
	make(0);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		CHECK_MSG(run(NATIVE, allowed[i], 0, 0) == SECCOMP_RET_ALLOW, "call %d", allowed[i]);
}

TEST(arguments)
{
	make(0);
	CHECK_INT(run(NATIVE, SYS_clone, 0x11, 0), SECCOMP_RET_ALLOW);
	CHECK_INT(run(NATIVE, SYS_clone, 0x10000011, 0), FAILS(EPERM)); /* CLONE_NEWUSER */
	CHECK_INT(run(NATIVE, SYS_clone, 0x3d0f00, 0), SECCOMP_RET_ALLOW);
	CHECK_INT(run(NATIVE, SYS_unshare, 0x400, 0), SECCOMP_RET_ALLOW); /* CLONE_FILES */
	CHECK_INT(run(NATIVE, SYS_unshare, 0x20000, 0), FAILS(EPERM));
	CHECK_INT(run(NATIVE, SYS_ioctl, 0, 0x5412), FAILS(EPERM));	 /* TIOCSTI */
	CHECK_INT(run(NATIVE, SYS_ioctl, 0, 0x100005412), FAILS(EPERM)); /* the kernel looks at the low half */
	CHECK_INT(run(NATIVE, SYS_ioctl, 0, 0x541c), FAILS(EPERM));	 /* TIOCLINUX */
	CHECK_INT(run(NATIVE, SYS_ioctl, 0, 0x5401), SECCOMP_RET_ALLOW);
	CHECK_INT(run(NATIVE, SYS_socket, 1, 1), SECCOMP_RET_ALLOW);
	CHECK_INT(run(NATIVE, SYS_socket, 40, 1), FAILS(EAFNOSUPPORT));
	CHECK_INT(run(NATIVE, SYS_personality, 0xffffffff, 0), SECCOMP_RET_ALLOW);
	CHECK_INT(run(NATIVE, SYS_personality, 0x0200000, 0), FAILS(EPERM)); /* ADDR_COMPAT_LAYOUT */
}

TEST(numbers_of_later_kernels_are_not_there)
{
	make(0);
	for (int i = 470; i < 2000; i++)
		CHECK_INT(run(NATIVE, i, 0, 0), FAILS(ENOSYS));
	CHECK_INT(run(NATIVE, 0x40000000 + 59, 0, 0), FAILS(ENOSYS)); /* x32 */
	CHECK_INT(run(NATIVE, -1, 0, 0), FAILS(ENOSYS));
	CHECK_INT(run(AUDIT_ARCH_S390X, 1, 0, 0), FAILS(ENOSYS));
}

#ifdef __x86_64__
TEST(calls_of_32_bit_programs)
{
	make(BOX_FILTER_SYNC);
	CHECK_INT(run(AUDIT_ARCH_I386, 4, 0, 0), SECCOMP_RET_ALLOW);	   /* write */
	CHECK_INT(run(AUDIT_ARCH_I386, 21, 0, 0), FAILS(EPERM));	   /* mount */
	CHECK_INT(run(AUDIT_ARCH_I386, 310, 0x10000000, 0), FAILS(EPERM)); /* unshare */
	CHECK_INT(run(AUDIT_ARCH_I386, 118, 0, 0), FAILS(0));		   /* fsync */
	CHECK_INT(run(AUDIT_ARCH_I386, 165, 0, 0), SECCOMP_RET_ALLOW);	   /* getresuid: mount's number elsewhere */
	CHECK_INT(run(AUDIT_ARCH_I386, 435, 0, 0), FAILS(ENOSYS));
}
#endif

TEST(what_is_pretended)
{
	static const int syncs[] = {SYS_fsync, SYS_fdatasync, SYS_msync, SYS_sync, SYS_syncfs};
	make(BOX_FILTER_SYNC);
	for (size_t i = 0; i < sizeof(syncs) / sizeof(*syncs); i++)
		CHECK_INT(run(NATIVE, syncs[i], 0, 0), FAILS(0));
	CHECK_INT(run(NATIVE, SYS_fchown, 0, 0), SECCOMP_RET_ALLOW);
	make(BOX_FILTER_CHOWN);
	CHECK_INT(run(NATIVE, SYS_fchownat, 0, 0), FAILS(0));
	CHECK_INT(run(NATIVE, SYS_fsync, 0, 0), SECCOMP_RET_ALLOW);
}
