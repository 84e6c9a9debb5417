// `npm run inspect -- task ID`, `npm run inspect -- artifact ID`: what Redis has of a task or an artifact, key by key.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactIdOf, artifactKeys, taskKeys } from '@pilum/core/redis/keys.ts';

const USAGE = `npm run inspect -- task ID        keys, ticket, outcome, attempts and frames of a task
npm run inspect -- artifact ID    keys of an artifact, its queue and who is offered

  --redis URL              the Redis to look into; that of \`npm run up\` in --data where none is named
  --data .pilum            the data directory of \`npm run up\`
  --namespace default`;
/** Characters of a value that are shown. */
const MAX_SHOWN = 2000;
/** Members of a list, hash, set or stream that are shown. */
const MAX_MEMBERS = 20;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    redis: { type: 'string' },
    data: { type: 'string', default: '.pilum' },
    namespace: { type: 'string', default: 'default' },
  },
});
const [what, id] = positionals;
if ((what !== 'task' && what !== 'artifact') || id === undefined || (what === 'task' && !id.includes('.'))) {
  console.error(USAGE);
  process.exit(1);
}

const socket = join(resolve(process.env.INIT_CWD ?? '.', flags.data), 'redis', 'redis.sock');
const url = flags.redis ?? process.env.PILUM_REDIS_URL ?? `unix://${socket}`;
if (url === `unix://${socket}` && !existsSync(socket)) {
  console.error(
    `There is no Redis at ${socket}: start Pilum, or name its Redis with --redis or its directory with --data.`,
  );
  process.exit(1);
}
const redis = connect({ url, name: 'pilum-inspect' }, (error) => {
  console.error(`Redis at ${url} does not answer: ${error.message}`);
  process.exit(1);
});
try {
  const found = what === 'task' ? await showTask(id) : await showArtifact(id);
  if (!found) console.error(`Redis has nothing of ${what} ${id} in namespace ${flags.namespace}.`);
  process.exitCode = found ? 0 : 1;
} finally {
  redis.disconnect();
}

async function showTask(taskId: string): Promise<boolean> {
  const { queueKeys } = artifactKeys({ namespace: flags.namespace, artifactId: artifactIdOf(taskId) });
  const { stagedResult: _writers, ...keys } = taskKeys({ namespace: flags.namespace, taskId });
  const names = { job: `${queueKeys}${taskId}`, lock: `${queueKeys}${taskId}:lock`, ...keys };
  return await show(names);
}

async function showArtifact(artifactId: string): Promise<boolean> {
  const keys = artifactKeys({ namespace: flags.namespace, artifactId });
  const { artifact, versions, versionStates, contents, aliases, stats, offers } = keys;
  const lists = ['wait', 'prioritized', 'active', 'delayed', 'failed', 'meta'];
  const queue = Object.fromEntries(lists.map((name) => [`queue ${name}`, keys.queueKeys + name]));
  return await show({ artifact, versions, versionStates, contents, aliases, stats, offers, ...queue });
}

/** Prints each key that is there; says whether any was. */
async function show(names: Readonly<Record<string, string>>): Promise<boolean> {
  let found = false;
  for (const [name, key] of Object.entries(names)) {
    const type = await redis.type(key);
    if (type === 'none') continue;
    found = true;
    const [ttlMs, value] = [await redis.pttl(key), await read(redis, key, type)];
    console.log(`\n${name}   ${type}, ${key}${ttlMs >= 0 ? `, gone in ${Math.ceil(ttlMs / 1000)} s` : ''}`);
    for (const line of value) console.log(`  ${shown(line)}`);
  }
  return found;
}

/** Reads the first members of a key of any type. */
async function read(from: Redis, key: string, type: string): Promise<string[]> {
  const last = MAX_MEMBERS - 1;
  switch (type) {
    case 'string':
      return [(await from.get(key)) ?? ''];
    case 'hash':
      return Object.entries(await from.hgetall(key))
        .slice(0, MAX_MEMBERS)
        .map(([field, value]) => `${field}: ${value}`);
    case 'list':
      return [`${await from.llen(key)} in all`, ...(await from.lrange(key, 0, last))];
    case 'set':
      return [`${await from.scard(key)} in all`, ...(await from.smembers(key)).slice(0, MAX_MEMBERS)];
    case 'zset':
      return [`${await from.zcard(key)} in all`, ...(await from.zrange(key, 0, String(last)))];
    case 'stream': {
      const entries = await from.xrange(key, '-', '+', 'COUNT', MAX_MEMBERS);
      return [`${await from.xlen(key)} in all`, ...entries.map(([entry, fields]) => `${entry} ${fields.join(' ')}`)];
    }
    default:
      return [];
  }
}

/** Makes a value fit for a terminal: bytes that are no text are escaped, and a long one is cut. */
function shown(text: string): string {
  const plain = text.replaceAll(
    /[^\P{C}\t]|\uFFFD/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return plain.length <= MAX_SHOWN ? plain : `${plain.slice(0, MAX_SHOWN)}… (${plain.length} characters)`;
}
