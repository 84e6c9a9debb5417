import type { Redis } from 'ioredis';
import { NEEDED_COMMANDS } from './needed-commands.ts';

/** The oldest Redis whose commands Pilum's scripts find. */
const LEAST_VERSION = [6, 2] as const;

/** The findings of a check of a Redis. */
export interface RedisFindings {
  /** Reasons why Pilum's promises cannot be kept on it, each with what to do. */
  readonly problems: readonly string[];
  /** Warnings for its operator. */
  readonly warnings: readonly string[];
}

export interface CheckOptions {
  /** A Redis that may throw keys away is used all the same. */
  readonly allowEviction: boolean;
}

/**
 * Looks whether a Redis can keep what Pilum promises: its version, what it throws away, what it keeps over a restart, whether it is a
 * primary, and what its user may do.
 * @throws what a connection throws that is lost
 */
export async function checkRedis(redis: Redis, { allowEviction }: CheckOptions): Promise<RedisFindings> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const info = await infoOf(redis);
  if (info !== null) {
    const version = info.get('redis_version') ?? '';
    if (isOlder(version)) {
      problems.push(`is version ${version}: Pilum needs ${LEAST_VERSION.join('.')} or newer`);
      return { problems, warnings };
    }
    if (isReplica(info)) problems.push(replicaProblem(info));
    const policy = info.get('maxmemory_policy') ?? 'noeviction';
    if (policy !== 'noeviction') {
      const what = `may throw away what it has accepted (maxmemory-policy ${policy})`;
      if (allowEviction) warnings.push(`${what}: PILUM_REDIS_ALLOW_EVICTION says that tasks may be lost`);
      else
        problems.push(
          `${what}: set maxmemory-policy noeviction, or say PILUM_REDIS_ALLOW_EVICTION=true where tasks may be lost`,
        );
    }
    const keeps = await keepsNothing(redis, info);
    if (keeps !== null) warnings.push(keeps);
  }
  problems.push(...(await missingRights(redis)));
  return { problems, warnings };
}

/** Reads INFO; null where it may not be asked, which {@link missingRights} says. */
async function infoOf(redis: Redis): Promise<ReadonlyMap<string, string> | null> {
  try {
    const text = await redis.info();
    return new Map(
      text.split(/\r?\n/).flatMap((line) => {
        const colon = line.indexOf(':');
        return colon === -1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const];
      }),
    );
  } catch (error) {
    if (isNoPermission(error) || isUnknownCommand(error)) return null;
    throw error;
  }
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [leastMajor, leastMinor] = LEAST_VERSION;
  return major < leastMajor || (major === leastMajor && minor < leastMinor);
}

/** Whether INFO is that of a replica. */
function isReplica(info: ReadonlyMap<string, string>): boolean {
  const role = info.get('role');
  return role === 'slave' || role === 'replica';
}

function replicaProblem(info: ReadonlyMap<string, string>): string {
  const primary = info.get('master_host');
  const where = primary === undefined ? '' : ` of ${primary}:${info.get('master_port') ?? ''}`;
  return `is a replica${where} and takes no writes (READONLY): let PILUM_REDIS_URL name the primary`;
}

/** Says what is lost when Redis restarts; null where nothing is but the last second. */
async function keepsNothing(redis: Redis, info: ReadonlyMap<string, string>): Promise<string | null> {
  if (info.get('aof_enabled') === '1') return null;
  const save = await redis.config('GET', 'save').then(
    (answer) => (answer as string[])[1] ?? '',
    () => null, // it may not be asked, and then nothing more is known
  );
  if (save === '') {
    return 'keeps nothing: with each restart of it all artifacts, tasks and results are LOST; set appendonly yes';
  }
  return 'has no append-only file: a restart of it loses what was accepted since its last snapshot; set appendonly yes';
}

/** Each command that Pilum needs and may not use, with the right that is missing. */
async function missingRights(redis: Redis): Promise<string[]> {
  const user = await redis.call('ACL', 'WHOAMI').then(String, () => redis.options.username ?? 'default');
  const pipeline = redis.pipeline();
  for (const [command, ...args] of NEEDED_COMMANDS) pipeline.call(command, ...args);
  const answers = (await pipeline.exec()) ?? [];
  const commands: string[] = [];
  const others = new Set<string>();
  for (const [index, [error]] of answers.entries()) {
    if (error === null || (!isNoPermission(error) && !isUnknownCommand(error))) continue;
    const command = NEEDED_COMMANDS[index]?.[0] ?? '';
    if (isUnknownCommand(error)) others.add(`does not have the command ${command} (${error.message})`);
    else if (/\bkeys?\b/i.test(error.message)) {
      others.add(`does not let its user ${user} use Pilum's keys (${error.message}): ACL SETUSER ${user} ~{pilum*`);
    } else if (/\bchannels?\b/i.test(error.message)) {
      others.add(`does not let its user ${user} use Pilum's channels (${error.message}): ACL SETUSER ${user} &pilum:*`);
    } else commands.push(command);
  }
  const names = [...new Set(commands)];
  if (names.length === 0) return [...others];
  const rights = names.map((name) => `+${name.toLowerCase()}`).join(' ');
  return [`does not let its user ${user} run ${names.join(', ')} (NOPERM): ACL SETUSER ${user} ${rights}`, ...others];
}

const isNoPermission = (error: unknown) => error instanceof Error && error.message.includes('NOPERM');
const isUnknownCommand = (error: unknown) => error instanceof Error && /^ERR unknown command/i.test(error.message);
