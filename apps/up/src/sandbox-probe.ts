import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { findProgram } from '../setup/find-program.mjs';
import { Refusal } from '../setup/refusal.mjs';

/** The namespaces that a function's sandbox is made of, with nothing inside. */
const EMPTY_SANDBOX = [
  '--unshare-all',
  '--die-with-parent',
  '--ro-bind',
  '/',
  '/',
  '--proc',
  '/proc',
  '--dev',
  '/dev',
  '--',
  'true',
];
const OTHERWISE = 'or run functions WITHOUT any sandbox with --isolation none';

/** The settings that keep a kernel from giving namespaces to everybody, and the command that changes it. */
const SWITCHES = [
  {
    file: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    closed: '1',
    command: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  },
  {
    file: '/proc/sys/kernel/unprivileged_userns_clone',
    closed: '0',
    command: 'sudo sysctl -w kernel.unprivileged_userns_clone=1',
  },
  { file: '/proc/sys/user/max_user_namespaces', closed: '0', command: 'sudo sysctl -w user.max_user_namespaces=15000' },
];

/**
 * Makes an empty sandbox once, because a kernel may forbid it (Ubuntu 24.04 does, for users other than root) and that
 * is better said now than at the first call.
 * @throws Refusal that says what to do.
 */
export async function probeSandbox(path: string | undefined, signal: AbortSignal): Promise<void> {
  const bwrap = findProgram(['bwrap'], path);
  if (bwrap === undefined) throw new Refusal(`bwrap is not on PATH: install bubblewrap, ${OTHERWISE}.`);
  const problem = await new Promise<string | undefined>((done, fail) => {
    const child = spawn(bwrap, EMPTY_SANDBOX, { stdio: ['ignore', 'ignore', 'pipe'], signal });
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    child.once('error', fail);
    child.once('close', (code) => done(code === 0 ? undefined : text.trim().split('\n', 1)[0] || `exit code ${code}`));
  });
  if (problem === undefined) return;
  const closed = SWITCHES.find(({ file, closed }) => read(file) === closed);
  const remedy = closed === undefined ? 'let this user make namespaces' : `type \`${closed.command}\``;
  throw new Refusal(
    `This machine does not let bubblewrap make a sandbox (${problem.replace(/^bwrap: /, '').split(/, |\. /, 1)[0]}): ${remedy} and start again, ${OTHERWISE}.`,
  );
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}
