import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { IP_COMMANDS, RULESET } from './relay/ruleset.ts';

const DIRECTORIES = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'];
export const PROGRAM_PATH = DIRECTORIES.join(':');

/** The programs that it takes, and the Debian packages that bring them. */
const PACKAGES = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  ip: 'iproute2',
  nft: 'nftables',
};
export type RelayPrograms = Readonly<Record<keyof typeof PACKAGES, string>>;

/** The programs with which networks are made and entered here, or why none can be made: one sentence that says what to do. */
export type NetworkProbe =
  | { readonly ok: true; readonly programs: RelayPrograms }
  | { readonly ok: false; readonly problem: string };

const WHAT = 'limits.network egress and lists are refused';

/** Makes a network like those of instances, as the user who will, to see whether this machine lets us. */
export async function probeNetwork(user: { uid: number } | null): Promise<NetworkProbe> {
  const found: Record<string, string> = {};
  for (const name of Object.keys(PACKAGES)) {
    const path = await findProgram(name);
    if (path !== null) found[name] = path;
  }
  const missing = Object.entries(PACKAGES).filter(([name]) => found[name] === undefined);
  if (missing.length > 0) {
    const names = missing.map(([name]) => name).join(', ');
    const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
    return { ok: false, problem: `${WHAT}: there is no ${names}: run "apt-get install ${packages}"` };
  }
  const programs = found as RelayPrograms;
  const problem = await tryOut(programs, user);
  return problem === null ? { ok: true, programs } : { ok: false, problem: `${WHAT}: ${problem}` };
}

/** The command that runs another one without privileges outside, and with all that it takes to make networks inside. */
export function inOwnNamespace({ unshare, setpriv }: RelayPrograms, command: readonly string[]): string[] {
  // It dies with the worker, whatever it is doing.
  return [
    unshare,
    '--user',
    '--map-current-user',
    '--keep-caps',
    '--',
    setpriv,
    '--pdeathsig',
    'KILL',
    '--',
    ...command,
  ];
}

/** Makes a network as the relay does, and enters it as instances do. */
const SCRIPT = [
  'set -e; ip=$1 nft=$2 nsenter=$3',
  '"$ip" -batch - <<E\n$4\nE',
  '"$ip" -6 -batch - <<E\n$5\nE',
  '"$nft" -f - <<E\n$6\nE',
  '"$nsenter" --net=/proc/self/ns/net -- /bin/true',
].join('\n');

async function tryOut(programs: RelayPrograms, user: { uid: number } | null): Promise<string | null> {
  const { unshare, ip, nft, nsenter } = programs;
  const texts = [IP_COMMANDS.ipv4.join('\n'), IP_COMMANDS.ipv6.join('\n'), RULESET];
  const inside = [unshare, '--net', '--', '/bin/sh', '-c', SCRIPT, 'pilum', ip, nft, nsenter, ...texts];
  const [file = '', ...args] = inOwnNamespace(programs, inside);
  const result = await execa(file, args, {
    reject: false,
    extendEnv: false,
    env: {},
    cwd: '/',
    timeout: 10_000,
    ...(user === null ? {} : { uid: user.uid, gid: user.uid }),
  });
  if (!result.failed) return null;
  const said = result.stderr?.trim().split('\n')[0] || result.originalMessage || result.shortMessage;
  return `this machine lets no user make a network of its own with rules in it ("${said}"): it takes user namespaces, IPv6 and the kernel's nf_tables`;
}

async function findProgram(name: string): Promise<string | null> {
  for (const directory of DIRECTORIES) {
    const path = join(directory, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return null;
}
