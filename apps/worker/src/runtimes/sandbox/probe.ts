import { closeSync, openSync } from 'node:fs';
import { access, constants, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { type BubblewrapFeatures, bubblewrapArguments, type HostLayout } from './bubblewrap.ts';

const PLACES = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap', '/opt/bin/bwrap'];

/** A bubblewrap that works here, or why there is none: one sentence that says what to do. */
export type SandboxProbe =
  | {
      readonly ok: true;
      readonly path: string;
      readonly features: BubblewrapFeatures;
      /** The file of the filter of system calls; null where instances run without one. */
      readonly filter: string | null;
      /** Reason why there is no filter; null where there is one. */
      readonly unfiltered: string | null;
      readonly notes: readonly string[];
    }
  | { readonly ok: false; readonly problem: string };

const NONE_HINT = 'or start the worker with --isolation none (PILUM_ISOLATION=none)';

/**
 * Runs `true` in a sandbox like those of instances, to see whether this machine lets us.
 * @param filter the file of the filter of system calls; null for none
 */
export async function probeSandbox(
  layout: HostLayout,
  user: { uid: number } | null,
  filter: string | null = null,
): Promise<SandboxProbe> {
  const path = await findBubblewrap();
  if (path === null) {
    return { ok: false, problem: `bubblewrap is not installed: run "apt-get install bubblewrap", ${NONE_HINT}.` };
  }
  const { stdout: help } = await execa(path, ['--help'], { reject: false, extendEnv: false, env: {} });
  const has = (option: string) => help.includes(option);
  let features = { disableUserns: has('--disable-userns'), size: has('--size'), perms: has('--perms') };
  let failure = await tryOut(path, layout, features, user);
  if (failure !== null && features.disableUserns) {
    // Bubblewrap writes to /proc/sys, which containers often have read-only.
    const without = { ...features, disableUserns: false };
    if ((await tryOut(path, layout, without, user)) === null) {
      features = without;
      failure = null;
    }
  }
  if (failure !== null) return { ok: false, problem: await explainFailure(failure, kernelSetting) };
  const notes: string[] = [];
  const refusal = filter === null ? null : await tryOut(path, layout, features, user, filter);
  let unfiltered: string | null = null;
  if (filter === null || refusal !== null) {
    unfiltered = refusal === null ? `there is no filter for ${process.arch}` : `bubblewrap says "${refusal}"`;
    notes.push(`functions can make any system call that their user can: ${unfiltered}`);
  }
  if (!features.disableUserns)
    notes.push('functions can make user namespaces of their own (bubblewrap 0.8 forbids it)');
  if (!features.size) notes.push('limits.diskMiB is not enforced (it takes bubblewrap 0.8)');
  return { ok: true, path, features, filter: refusal === null ? filter : null, unfiltered, notes };
}

/** Finds bubblewrap; null where it is not installed. */
export async function findBubblewrap(): Promise<string | null> {
  for (const path of PLACES) {
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // The next place.
    }
  }
  return null;
}

/** Returns what bubblewrap said where it failed. */
async function tryOut(
  path: string,
  layout: HostLayout,
  features: BubblewrapFeatures,
  user: { uid: number } | null,
  filter: string | null = null,
): Promise<string | null> {
  const args = bubblewrapArguments({
    layout,
    features,
    readOnly: [],
    env: {},
    workingDirectory: '/',
    network: 'none',
    diskMiB: 1,
  });
  const descriptor = filter === null ? null : openSync(filter, constants.O_RDONLY);
  const filtered = descriptor === null ? [] : ['--seccomp', '3'];
  const result = await execa(path, [...filtered, ...args, '--', '/usr/bin/true'], {
    reject: false,
    extendEnv: false,
    env: {},
    cwd: '/',
    // Execa takes descriptors, as `spawn` does; its types do not say so.
    stdio: ['ignore', 'pipe', 'pipe', descriptor ?? 'ignore'] as unknown as ['ignore', 'pipe', 'pipe', 'ignore'],
    timeout: 10_000,
    ...(user === null ? {} : { uid: user.uid, gid: user.uid }),
  });
  if (descriptor !== null) closeSync(descriptor);
  if (!result.failed) return null;
  return result.stderr?.trim() || (result.originalMessage ?? result.shortMessage ?? 'it failed');
}

/**
 * Says what to do about a machine that refuses, in one sentence.
 * @param failure what bubblewrap said
 * @param setting reads a kernel setting by its path below /proc/sys; '' where there is none
 */
export async function explainFailure(failure: string, setting: (name: string) => Promise<string>): Promise<string> {
  const said = failure.split('\n').at(-1);
  if (/mount proc/i.test(failure)) {
    return (
      `this container does not allow a new /proc ("${said}"): run it with --security-opt systempaths=unconfined, or as ` +
      `docs/operate/containers.md says, ${NONE_HINT}.`
    );
  }
  const remedies = [
    ['user/max_user_namespaces', '0', '10000', 'user namespaces are switched off'],
    ['kernel/unprivileged_userns_clone', '0', '1', 'unprivileged user namespaces are switched off'],
    [
      'kernel/apparmor_restrict_unprivileged_userns',
      '1',
      '0',
      'AppArmor forbids unprivileged user namespaces, as on Ubuntu 24.04',
    ],
  ] as const;
  for (const [name, bad, good, what] of remedies) {
    if ((await setting(name)) !== bad) continue;
    return `${what}: run "sudo sysctl -w ${name.replaceAll('/', '.')}=${good}", ${NONE_HINT}.`;
  }
  return `bubblewrap cannot make a sandbox here ("${said}"): allow user namespaces to this user, or to this container as docs/operate/containers.md says, ${NONE_HINT}.`;
}

async function kernelSetting(name: string): Promise<string> {
  const text = await readFile(`/proc/sys/${name}`, 'utf8').catch(() => '');
  return text.trim();
}
