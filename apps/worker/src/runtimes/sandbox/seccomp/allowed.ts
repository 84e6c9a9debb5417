/**
 * The system calls that functions may make. Everything else is answered as if it were forbidden, and what is newer than
 * this list as if the kernel did not have it, so that programs fall back to what they did before.
 *
 * Left out on purpose: inotify_add_watch, which would show who opens files that a function shares with others (a watcher can
 * be made, and is told that it may not watch); io_uring, keyrings, userfaultfd, perf, bpf, fanotify, what looks into other processes (ptrace,
 * process_vm_*, kcmp, pidfd_getfd), what makes or enters namespaces and mounts, modules, kexec, swap, clocks that are the
 * machine's, raw ports, and file handles, which go round the paths that a sandbox sees.
 */
export const ALLOWED_CALLS: readonly string[] = words(`
  read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
  pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2
  pause nanosleep getitimer alarm setitimer getpid sendfile connect accept sendto recvfrom sendmsg recvmsg
  shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt fork vfork execve exit wait4
  kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate
  getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown
  umask gettimeofday getrlimit getrusage sysinfo times getuid getgid setuid setgid geteuid getegid
  setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid
  setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack
  utime mknod statfs fstatfs getpriority setpriority sched_setparam sched_getparam sched_setscheduler
  sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock mlockall
  munlockall prctl arch_prctl setrlimit sync gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr
  listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity
  sched_getaffinity epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address
  restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
  clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes mq_open mq_unlink
  mq_timedsend mq_timedreceive mq_notify mq_getsetattr waitid ioprio_set ioprio_get inotify_init
  inotify_rm_watch openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat
  fchmodat faccessat pselect6 ppoll set_robust_list get_robust_list splice tee sync_file_range utimensat
  epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2
  epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo recvmmsg prlimit64 syncfs sendmmsg getcpu
  sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create execveat membarrier mlock2 copy_file_range
  preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq pidfd_send_signal pidfd_open close_range openat2
  faccessat2 process_mrelease epoll_pwait2 landlock_create_ruleset landlock_add_rule landlock_restrict_self
  memfd_secret futex_waitv set_mempolicy get_mempolicy mbind cachestat fchmodat2 map_shadow_stack futex_wake
  futex_wait futex_requeue mseal setxattrat getxattrat listxattrat removexattrat
`);

/** Families of sockets: of the machine itself, IPv4 and IPv6. */
export const ALLOWED_FAMILIES: readonly number[] = [1, 2, 10];
/**
 * The family of netlink, with the one protocol of it that asks the kernel for addresses and routes: over others functions could
 * send to themselves, and what is on its way there is counted by no limit on memory.
 */
export const NETLINK = { family: 16, protocol: 0 } as const;

/** Flags of `clone` that make a namespace: NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
export const NAMESPACE_FLAGS = 0x7e02_0080;

/** Requests of `ioctl` that push input into a terminal: TIOCSTI and TIOCLINUX. */
export const REFUSED_REQUESTS: readonly number[] = [0x5412, 0x541c];

/** Values that `personality` may set: plain Linux, Linux with fixed addresses, and the one that only asks what is set. */
export const ALLOWED_PERSONALITIES: readonly number[] = [0, 0x0004_0000, 0xffff_ffff];

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
