import { abortable } from '@pilum/core/async/abortable.ts';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import Docker from 'dockerode';

/** The time that the Engine may take over a question that it answers at once while it is well, ms. */
const PING_MS = 3000;

/** A client for the Engine at `unix:///path` or `tcp://host:port`. Nothing is connected yet. */
export function connectEngine(host: string): Docker {
  const url = new URL(host);
  if (url.protocol === 'unix:') return new Docker({ socketPath: url.pathname });
  return new Docker({ protocol: 'http', host: url.hostname, port: url.port === '' ? 2375 : Number(url.port) });
}

/** The facts of a client's error: a status where the Engine has answered, a code where it has not. */
interface EngineFault {
  readonly statusCode?: number;
  readonly code?: string;
  readonly syscall?: string;
  readonly json?: { readonly message?: string } | null;
}

/** The HTTP status that the Engine has answered with; null where it has not answered, or the error is of another kind. */
export function statusOf(error: unknown): number | null {
  return (error as EngineFault | null)?.statusCode ?? null;
}

/** The fields that an error of a connection bears, and an error of a file does not. */
const OF_CONNECTIONS = {
  syscalls: ['connect', 'getaddrinfo', 'read', 'write'],
  codes: ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ABORT_ERR'],
};

/** Tells whether the Engine did not answer, so that nothing is known of what was asked. */
export function isAway(error: unknown): boolean {
  const { statusCode, code = '', syscall = '' } = (error ?? {}) as EngineFault;
  return statusCode === undefined && (OF_CONNECTIONS.codes.includes(code) || OF_CONNECTIONS.syscalls.includes(syscall));
}

/** Returns the Engine's own words for an error, in one line. */
export function saidBy(error: unknown): string {
  const said = (error as EngineFault | null)?.json?.message ?? (error instanceof Error ? error.message : String(error));
  return said.trim().replaceAll(/\s+/g, ' ').slice(0, 1000);
}

/** The error of whatever needs an Engine that does not answer. */
export function engineAway(error: unknown, host: string): RuntimeError {
  return new RuntimeError('RUNTIME_UNAVAILABLE', {
    message: `The Docker Engine does not answer at ${host}: ${saidBy(error)}.`,
    hint: 'Start it, let the worker use it, or say with PILUM_DOCKER_HOST where it is. What needs it goes on by itself when it is back.',
    cause: error,
  });
}

/** The time that the Engine may take over what it does at once while it is well, also under load, ms. */
const ANSWER_MS = 30_000;

/**
 * Returns what the Engine answers, where it does in time: an Engine that hangs is as good as away.
 * @throws what was asked is rejected with; an error for which {@link isAway} is true where there is no answer
 */
export async function answered<T>(asked: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(ANSWER_MS);
  try {
    return await abortable(asked, late);
  } catch (error) {
    if (error !== late.reason) throw error;
    throw Object.assign(new Error(`no answer within ${ANSWER_MS} ms`), { code: 'ETIMEDOUT' });
  }
}

/** The facts of an Engine that decide whether and how instances run. */
export interface EngineFacts {
  readonly version: string;
  readonly cgroupVersion: string;
  readonly ociRuntimes: readonly string[];
  /** Limits that this Engine cannot hold, by name. */
  readonly unlimited: readonly string[];
  /** Tells whether it puts a filter of system calls around containers. */
  readonly hasFilter: boolean;
  /** The way in which it limits the buffers of sockets: as memory, or apart from it; null where it does not. */
  readonly sockets: 'memory' | 'apart' | null;
}

/** @throws whatever the client throws */
export async function readFacts(engine: Docker): Promise<EngineFacts> {
  const info = await answering(engine).info({ abortSignal: AbortSignal.timeout(PING_MS) });
  const limits = { memory: 'MemoryLimit', swap: 'SwapLimit', CPU: 'CpuCfsQuota', processes: 'PidsLimit' };
  return {
    version: String(info.ServerVersion),
    cgroupVersion: String(info.CgroupVersion ?? '1'),
    ociRuntimes: Object.keys((info.Runtimes as Record<string, unknown> | null) ?? {}),
    unlimited: Object.entries(limits)
      .filter(([, field]) => info[field] === false)
      .map(([name]) => name),
    sockets: String(info.CgroupVersion ?? '1') === '2' ? 'memory' : info.KernelMemoryTCP === true ? 'apart' : null,
    hasFilter: ((info.SecurityOptions as readonly string[] | null) ?? []).some(
      (option) => /^name=seccomp\b/.test(option) && !/profile=unconfined/.test(option),
    ),
  };
}

/** @throws whatever the client throws where the Engine does not answer in time */
export async function ping(engine: Docker): Promise<void> {
  await answering(engine).ping({ abortSignal: AbortSignal.timeout(PING_MS) });
}

/** The options of two calls that the library's types do not have yet: both calls can be aborted. */
interface Answering {
  info(options: { abortSignal: AbortSignal }): Promise<Record<string, unknown>>;
  ping(options: { abortSignal: AbortSignal }): Promise<unknown>;
}

const answering = (engine: Docker) => engine as unknown as Answering;
