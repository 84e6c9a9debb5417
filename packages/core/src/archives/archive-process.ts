import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ARCHIVE_TIME_LIMIT_MS } from './archive-limits.ts';
import type { ArchiveOrder, ArchiveReply } from './archive-order.ts';
import { BadArchive } from './bad-archive.ts';
import type { Verdict } from './judge.ts';
import type { UnpackedFile } from './unpack.ts';

const require = createRequire(import.meta.url);
const PROGRAM = join(import.meta.dirname, 'program.ts');
/** Everything that it reads: a sandbox has to show them. */
export const ARCHIVE_DIRECTORIES: readonly string[] = [
  import.meta.dirname,
  ...['yauzl', 'pend'].map((name) => dirname(require.resolve(`${name}/package.json`))),
];

/** Memory that its process may write to, MiB: Node maps 560 of them without need. */
const DATA_MIB = 640 + 512;
/** And what it holds of a zip archive that comes through a pipe: that is read from its end. */
const HELD_MIB = 1024;
const HEAP_MIB = 384;
const OPEN_FILES = 64;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;
const MAX_COMPLAINT_BYTES = 4096;

export interface ArchiveRun {
  readonly order: ArchiveOrder;
  /** A file from its beginning, as a descriptor that stays open here; or the bytes of it, for an archive that is only judged. */
  readonly archive: number | AsyncIterable<Buffer>;
  /** Words before the command that put the process in a sandbox; empty for none. */
  readonly sandbox?: readonly string[];
  readonly signal?: AbortSignal;
  readonly limitMs?: number;
}

/** The process could not do what it is for, and the archive is not to blame as far as is known. */
export class ArchiveProcessFailed extends Error {}

/**
 * Judges an archive in a process of its own.
 * @throws BadArchive; ArchiveProcessFailed
 */
export async function judgeArchive(run: ArchiveRun): Promise<Verdict> {
  const reply = await runProcess(run);
  if ('verdict' in reply) return reply.verdict;
  throw new ArchiveProcessFailed('the archive was not judged');
}

/**
 * Unpacks an archive in a process of its own, into the directory that its order names.
 * @throws BadArchive; ArchiveProcessFailed
 */
export async function unpackArchive(run: ArchiveRun): Promise<readonly UnpackedFile[]> {
  const reply = await runProcess(run);
  if ('files' in reply) return reply.files;
  throw new ArchiveProcessFailed('the archive was not unpacked');
}

async function runProcess(run: ArchiveRun): Promise<ArchiveReply> {
  const limitMs = run.limitMs ?? ARCHIVE_TIME_LIMIT_MS;
  const { archive, sandbox = [], signal } = run;
  signal?.throwIfAborted();
  const [command = '', ...args] = [...sandbox, ...commandFor(run.order, limitMs)];
  const child = spawn(command, args, {
    stdio: [typeof archive === 'number' ? archive : 'pipe', 'pipe', 'pipe'],
    env: {},
    cwd: '/',
  });
  const kill = () => child.kill('SIGKILL');
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    kill();
  }, limitMs);
  signal?.addEventListener('abort', kill);
  const ended = new Promise<string | null>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, by) => resolve(code === 0 ? null : by === null ? `exit code ${code}` : `signal ${by}`));
  });
  try {
    const said = collect(child.stdout, MAX_REPLY_BYTES, kill);
    const complaint = collect(child.stderr, MAX_COMPLAINT_BYTES, () => undefined);
    const fed = typeof archive === 'number' ? null : feed(archive, child.stdin, kill);
    // They are heard below, and must not go unheard until then.
    for (const promise of [said, complaint, fed]) promise?.catch(() => undefined);
    const end = await ended;
    signal?.throwIfAborted();
    const text = (await said).toString('utf8');
    await fed;
    if (isLate) throw new BadArchive(`it takes more than ${limitMs / 1000} s to unpack`);
    if (end !== null || text === '') {
      // Past its limits of memory or processor time it cannot say so any more.
      const isOverLimit = ['signal SIGABRT', 'signal SIGXCPU', 'signal SIGTRAP', 'exit code 134', 'exit code 152'];
      if (isOverLimit.includes(end ?? '')) throw new BadArchive('it takes more memory or time to unpack than it may');
      throw new ArchiveProcessFailed(
        `${end ?? 'no reply'}: ${(await complaint).toString('utf8').trim().slice(0, 1000)}`,
      );
    }
    const reply = JSON.parse(text) as ArchiveReply;
    if ('problem' in reply) {
      const { what, member, hint, isOtherFormat } = reply.problem;
      throw new BadArchive(what, member, hint, isOtherFormat);
    }
    if ('failure' in reply) throw new ArchiveProcessFailed(reply.failure);
    return reply;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
    kill();
    await ended;
  }
}

/** Node with limits of the kernel, and without network, children or add-ons by its own. */
function commandFor(order: ArchiveOrder, limitMs: number): string[] {
  const { limits, directory, format } = order;
  const dataMiB = DATA_MIB + (format === 'zip' && directory === undefined ? HELD_MIB : 0);
  const script = [
    'ulimit -c 0',
    `ulimit -n ${OPEN_FILES}`,
    `ulimit -d ${dataMiB * 1024}`,
    `ulimit -t ${Math.ceil(limitMs / 1000)}`,
    // In blocks of 512 bytes.
    `ulimit -f ${directory === undefined ? 0 : Math.ceil(limits.unpackedBytes / 512)}`,
  ].map((line) => `${line} 2>/dev/null || :`);
  script.push('if command -v setpriv >/dev/null; then set -- setpriv --pdeathsig KILL -- "$@"; fi', 'exec "$@"');
  return [
    ...['/bin/sh', '-c', script.join('\n'), 'pilum', process.execPath],
    ...['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--no-warnings', `--max-old-space-size=${HEAP_MIB}`],
    ...[PROGRAM, JSON.stringify(order)],
  ];
}

async function collect(stream: NodeJS.ReadableStream | null, most: number, onTooMuch: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  if (stream === null) return Buffer.alloc(0);
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (bytes > most) onTooMuch();
    else chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** Sends the archive. The process may have seen enough before it has all; what fails here is a failure of the whole. */
async function feed(
  archive: AsyncIterable<Buffer>,
  stdin: NodeJS.WritableStream | null,
  kill: () => void,
): Promise<void> {
  if (stdin === null) return;
  let isGone = false;
  stdin.on('error', () => {
    isGone = true;
  });
  stdin.on('close', () => {
    isGone = true;
  });
  try {
    for await (const chunk of archive) {
      if (isGone) return;
      if (!stdin.write(chunk)) await taken(stdin);
    }
    stdin.end();
  } catch (error) {
    kill();
    throw error;
  }
}

function taken(stdin: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stdin.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    stdin.on('drain', done).on('close', done).on('error', done);
  });
}
