import { requireArguments } from '../contract/checked-texts.ts';

/** The abilities of the installed bubblewrap beyond those that all versions since 0.4 have. */
export interface BubblewrapFeatures {
  /** `--disable-userns`, since 0.8: no user namespaces inside, which most kernel exploits need. */
  readonly disableUserns: boolean;
  /** `--size`, since 0.8: a limit for a tmpfs. */
  readonly size: boolean;
  /** `--perms`, since 0.5. */
  readonly perms: boolean;
}

/** The parts of this machine that every sandbox gets to see, read-only. */
export interface HostLayout {
  /** `/bin → usr/bin` and the like, as the host has them. */
  readonly symlinks: readonly { readonly path: string; readonly target: string }[];
  /** Directories and files, bound at the place they have on the host. */
  readonly visible: readonly string[];
}

export interface SandboxProfile {
  readonly layout: HostLayout;
  readonly features: BubblewrapFeatures;
  /** Bound read-only: from the host's path to that in the sandbox. */
  readonly readOnly: readonly { readonly from: string; readonly to: string }[];
  /** Empty directories of its own. */
  readonly writable?: readonly { readonly path: string; readonly sizeMiB: number }[];
  /** Files of its own, read from descriptors, that its user alone may read. */
  readonly files?: readonly { readonly path: string; readonly fd: number }[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** `joined`: the one that whoever starts bubblewrap is in. */
  readonly network: 'none' | 'joined' | 'host';
  /** Size of /tmp, and of /dev/shm. */
  readonly diskMiB: number;
}

/** The uid of a function inside its sandbox. Outside it is an unprivileged uid of the worker's. */
export const SANDBOX_UID = 1000;
export const SANDBOX_USER = 'function';
const HOSTNAME = 'pilum';

/** The files of /etc that it takes to find a name, with the host's network. */
const NETWORK_FILES = ['/etc/resolv.conf', '/etc/hosts', '/etc/services', '/etc/gai.conf'];

/** The arguments for bubblewrap, without the command. Later ones are applied on top of earlier ones. */
export function bubblewrapArguments(profile: SandboxProfile): string[] {
  const { layout, features, network } = profile;
  const tmpfs = (path: string, sizeMiB = profile.diskMiB) => [
    ...(features.perms ? ['--perms', '1777'] : []),
    ...(features.size ? ['--size', String(sizeMiB * 1024 * 1024)] : []),
    '--tmpfs',
    path,
  ];
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...(network === 'none' ? ['--unshare-net'] : []),
    ...(features.disableUserns ? ['--disable-userns'] : []),
    ...['--uid', String(SANDBOX_UID), '--gid', String(SANDBOX_UID), '--hostname', HOSTNAME],
    // The worker's death is theirs. No terminal to push input into.
    ...['--die-with-parent', '--new-session'],
    ...layout.visible.flatMap((path) => ['--ro-bind', path, path]),
    ...layout.symlinks.flatMap(({ path, target }) => ['--symlink', target, path]),
    ...(network === 'host' ? NETWORK_FILES.flatMap((path) => ['--ro-bind-try', path, path]) : []),
    ...['--proc', '/proc', '--dev', '/dev'],
    ...tmpfs('/dev/shm'),
    ...tmpfs('/tmp'),
    ...profile.readOnly.flatMap(({ from, to }) => ['--ro-bind', from, to]),
    ...(profile.writable ?? []).flatMap(({ path, sizeMiB }) => tmpfs(path, sizeMiB)),
    // They lie in the root, which is memory.
    ...(profile.files ?? []).flatMap(({ path, fd }) => [
      ...(features.perms ? ['--perms', '0400'] : []),
      ...['--file', String(fd), path],
    ]),
    // Bubblewrap builds these of a tmpfs of its own, without a limit.
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
    '--clearenv',
    ...Object.entries(profile.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--chdir', profile.workingDirectory],
  ];
}

/**
 * Arguments as bubblewrap reads them from a file descriptor: there no other user sees them, as they do in `ps`.
 * @throws InstanceError `INSTANCE_START_FAILED` for one that would be two to bubblewrap
 */
export function encodeArguments(args: readonly string[]): Buffer {
  return Buffer.from(
    requireArguments(args)
      .map((arg) => `${arg}\0`)
      .join(''),
  );
}
