//! The system calls, by seccomp.
//!
//! A call that is not known here is answered as by a kernel that does not have it. That harms nobody: the C library,
//! which may try a newer call first, has another way then, and a process that was taken over gets no further. The calls
//! of [`HOSTILE`] end the process instead. Nothing here makes them, so whoever does is not the program any more, and
//! is not to try again.

use super::Access;
use super::filter::{Answer, Filter, When};
use crate::error::{Error, ErrorKind, Result};
use libc::c_long;
use rustix::io::Errno;

/// Its number, which is the same everywhere and which the C library's headers lack on some architectures.
const FCHMODAT2: c_long = 452;

/// What this library and its threads call, on every architecture.
const NEEDED: &[c_long] = &[
    // Files that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_getdents64,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fgetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Files by their names; Landlock says which.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_umask,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    // Memory. It is never made executable: see [`strict`].
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, time and signals of this process, and waiting for a program that it started before.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    #[cfg(target_env = "musl")]
    libc::SYS_tkill,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Who and where it is.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
];

/// Older calls for the same, which only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_getdents,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What only somebody who took the process over would call: other programs and processes, the kernel itself, other
/// views of the filesystem, another identity.
const HOSTILE: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    #[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Hostile, too, where no program is to run.
const PROGRAMS: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// The way to a network, or to a server of this host. Programs that are run may try, and hear that they may not.
const SOCKETS: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

/// What may be asked of a device or terminal: its size, and to share, discard or zero blocks.
#[rustfmt::skip]
const IOCTLS: &[u32] = &[
    0x5401, 0x802C_542A, 0x5413,     // TCGETS, TCGETS2, TIOCGWINSZ
    0x5421, 0x5450, 0x5451,          // FIONBIO, FIONCLEX, FIOCLEX
    0x4004_9409, 0x8008_6601,        // FICLONE, FS_IOC_GETFLAGS
    0x1260, 0x8008_1272,             // BLKGETSIZE, BLKGETSIZE64
    0x1268, 0x127B, 0x125E, 0x1261,  // BLKSSZGET, BLKPBSZGET, BLKROGET, BLKFLSBUF
    0x1277, 0x127F,                  // BLKDISCARD, BLKZEROOUT
];
/// PR_SET_NAME, and PR_SET_VMA: names of threads and of memory.
const PRCTLS: &[u32] = &[15, 0x5356_4D41];

/// The filter for a process that runs no programs.
fn strict() -> Filter {
    const EXECUTABLE: u32 = libc::PROT_EXEC as u32;
    const THREAD: u32 = libc::CLONE_THREAD as u32;
    let itself = || When::is(0, [std::process::id()]);
    Filter::new(Answer::Missing)
        .all(&[HOSTILE, PROGRAMS, SOCKETS], Answer::Deadly)
        .all(&[NEEDED, OLDER], Answer::Allowed)
        .only(libc::SYS_mmap, When::bits(2, EXECUTABLE, 0))
        .only(libc::SYS_mprotect, When::bits(2, EXECUTABLE, 0))
        // Whoever tries clone3, whose arguments cannot be looked at, comes back with this.
        .only(libc::SYS_clone, When::bits(0, THREAD, THREAD))
        .only(libc::SYS_ioctl, When::is(1, IOCTLS.iter().copied()))
        .only(libc::SYS_prctl, When::is(0, PRCTLS.iter().copied()))
        .only(libc::SYS_tgkill, itself())
        .only(libc::SYS_prlimit64, When::is(0, [0, std::process::id()]))
        // Of the two ends of a pair that was made before; nowhere else.
        .only(libc::SYS_sendto, When::null(4))
        .only(libc::SYS_recvfrom, When::null(4))
}

/// The filter for a process that runs programs, and for these.
fn loose() -> Filter {
    foreign().all(&[SOCKETS], Answer::Forbidden)
}

/// The filter for a process with code in it that is not ours.
fn foreign() -> Filter {
    Filter::new(Answer::Allowed).all(&[HOSTILE], Answer::Deadly)
}

/// Holds all threads to the calls that are needed; where programs or code of others run, only keeps them from the
/// rest. Answers whether the kernel does so.
pub(super) fn restrict(access: &Access) -> Result<bool> {
    let filter = match access {
        Access { preloaded: true, .. } => foreign(),
        Access { programs: true, .. } => loose(),
        _ => strict(),
    };
    match seccompiler::apply_filter_all_threads(&filter.program()) {
        Ok(()) => Ok(true),
        Err(seccompiler::Error::Seccomp(error)) if is_missing(&error) => Ok(false),
        Err(error) => Err(Error::new(ErrorKind::Io, "cannot lock the process in by seccomp").caused_by(error)),
    }
}

/// Whether the kernel, or whoever runs us, has no filters for us.
fn is_missing(error: &std::io::Error) -> bool {
    [Errno::NOSYS, Errno::INVAL, Errno::PERM].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_named_twice() {
        let lists = [NEEDED, OLDER, HOSTILE, PROGRAMS, SOCKETS];
        // Each that is only for some arguments, too.
        assert_eq!(strict().len(), lists.iter().map(|list| list.len()).sum::<usize>() + 9);
        assert_eq!(loose().len(), HOSTILE.len() + SOCKETS.len());
    }
}
