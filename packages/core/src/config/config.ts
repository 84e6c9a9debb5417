import { hostname, totalmem } from 'node:os';
import { type Static, Type } from 'typebox';
import { WALL_LIST, WALL_NAMES } from '../spec/walls.ts';

/** Returns a share of the memory that the kernel gives this process, MiB: a container may have less than its machine. A function, because it is needed above its place. */
function memoryShareMiB(share: number): number {
  // 0 where nobody knows, and a number far beyond any machine where there is no limit.
  const bytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  return Math.max(16, Math.floor((bytes / 1_048_576) * share));
}

const ofPart = (parts: readonly Part[], description: string) => ({ description, parts });

/** The process that reads a variable. */
export type Part = 'api' | 'worker' | 'up';
const API: readonly Part[] = ['api'];
const WORKER: readonly Part[] = ['worker'];
const BOTH: readonly Part[] = ['api', 'worker'];
const ALL: readonly Part[] = ['api', 'worker', 'up'];

/**
 * Every `PILUM_…` variable: its type, its default and what it is for. `docs/configuration.md` is made from this.
 * The name of a property is the variable's name without `PILUM_`.
 */
export const Configuration = Type.Object({
  REDIS_URL: Type.String({
    default: 'redis://127.0.0.1:6379',
    pattern: '^(rediss?([+]sentinel)?|unix)://',
    ...ofPart(
      BOTH,
      'Redis: redis://host:port, rediss://…, unix:///path/redis.sock, or redis+sentinel://host:port,host:port/primary.',
    ),
  }),
  REDIS_CA_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        ALL,
        'PEM file of the authority that signs the certificate of Redis, for rediss://; those that Node knows by default.',
      ),
    }),
  ),
  REDIS_CERT_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(ALL, 'PEM file of the certificate that Pilum shows to Redis, for rediss://.'),
    }),
  ),
  REDIS_KEY_FILE: Type.Optional(
    Type.String({ minLength: 1, ...ofPart(ALL, 'PEM file of the private key of PILUM_REDIS_CERT_FILE.') }),
  ),
  REDIS_SENTINEL_PASSWORD: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        ALL,
        'Password that the Sentinels of redis+sentinel:// ask for; that of Redis itself stands in its URL.',
      ),
    }),
  ),
  REDIS_ALLOW_EVICTION: Type.Boolean({
    default: false,
    ...ofPart(
      ALL,
      'Whether a Redis is used that may throw keys away (its maxmemory-policy is not noeviction): accepted tasks and results may then be lost.',
    ),
  }),
  REDIS_MEMORY_MIB: Type.Integer({
    default: memoryShareMiB(0.25),
    minimum: 16,
    maximum: 16_777_216,
    description:
      'What the Redis that npm run up starts may hold, MiB (its maxmemory): it refuses before the machine runs out. A quarter of ' +
      'the memory of the machine by default.',
    parts: ['up'],
  }),
  HOST: Type.String({ default: '127.0.0.1', ...ofPart(API, 'Address that the API listens on.') }),
  PORT: Type.Integer({
    default: 8080,
    minimum: 0,
    maximum: 65_535,
    ...ofPart(API, 'Port that the API listens on; 0 for a free one.'),
  }),
  API_KEY: Type.Optional(
    Type.String({
      minLength: 16,
      ...ofPart(API, 'The key that every call needs. Without one the API listens on loopback only.'),
    }),
  ),
  SECRETS_KEY: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        BOTH,
        'Keys that secrets are encrypted with: 32 bytes each as base64 or hex, separated by commas. The first encrypts, all decrypt. ' +
          'Better in a file.',
      ),
    }),
  ),
  SECRETS_KEY_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        ALL,
        'File with these keys instead, one a line, which is read again when it changes. npm run up makes one in its data directory.',
      ),
    }),
  ),
  PUBLIC_URL: Type.Optional(
    Type.String({
      pattern: '^https?://[^/?#@\\s]+(?:/[^?#\\s]*)?$',
      ...ofPart(
        API,
        'Address by which callers reach the API through a proxy, such as https://pilum.example or https://example.com/pilum: ' +
          'the proxy takes its path away, and what Pilum and functions answer has it.',
      ),
    }),
  ),
  TRUST_PROXY: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        API,
        'Proxies whose X-Forwarded-For, -Proto, -Host and -Prefix count, separated by commas: addresses, networks such as ' +
          '10.0.0.0/8, loopback, private, all. None by default: then they are taken off.',
      ),
    }),
  ),
  FUNCTION_HOSTS: Type.Optional(
    Type.String({
      pattern: '^[^=,]+=[^=,]+(?:,[^=,]+=[^=,]+)*$',
      ...ofPart(
        API,
        'Functions with a host name of their own, separated by commas: shop.example=web, api.example=team/api@live for another ' +
          'namespace and an alias. Every path there is the function’s.',
      ),
    }),
  ),
  DATA: Type.String({ default: '.pilum', ...ofPart(ALL, 'Directory for what a machine keeps.') }),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    ...ofPart(BOTH, 'Least level that is logged.'),
  }),
  PAYLOAD_LIMIT_MIB: Type.Number({
    default: 6,
    minimum: 0.001,
    maximum: 256,
    ...ofPart(API, 'Largest payload of a task, MiB.'),
  }),
  UNFINISHED_MIB: Type.Number({
    default: 64,
    minimum: 0.001,
    maximum: 65_536,
    ...ofPart(
      API,
      'What one API process holds of bodies that are not whole yet, and as much again of answers that nobody takes, MiB. The ' +
        'slowest are given up where there is more; else a new one is refused with 503.',
    ),
  }),
  UNFINISHED_REQUESTS: Type.Integer({
    default: 1000,
    minimum: 1,
    maximum: 1_000_000,
    ...ofPart(API, 'Requests whose bodies are not whole yet, of one API process.'),
  }),
  BODY_PACE_KIB: Type.Number({
    default: 8,
    minimum: 0,
    maximum: 1_048_576,
    ...ofPart(
      API,
      'Least pace of a body on average, KiB/s, from its eleventh second on; a slower one is answered 408.',
    ),
  }),
  CONNECTIONS: Type.Integer({
    default: 16_384,
    minimum: 1,
    maximum: 1_000_000,
    ...ofPart(API, 'Connections of one API process; further ones are closed.'),
  }),
  BLOB_LIMIT_MIB: Type.Number({
    default: 256,
    minimum: 0.001,
    maximum: 4096,
    ...ofPart(API, 'Largest code of a version, MiB.'),
  }),
  STORE_QUOTA_MIB: Type.Number({
    default: 2048,
    minimum: 0.001,
    maximum: 1_048_576,
    ...ofPart(API, 'All code in the store together, MiB.'),
  }),
  BLOB_GRACE_S: Type.Integer({
    default: 3600,
    minimum: 1,
    maximum: 31_536_000,
    ...ofPart(WORKER, 'Code that no artifact uses is deleted after this long, s.'),
  }),
  TASK_RETENTION_S: Type.Integer({
    default: 86_400,
    minimum: 1,
    maximum: 31_536_000,
    ...ofPart(BOTH, 'Finished tasks are kept this long, s; those that failed: see PILUM_TASK_FAILURE_RETENTION_S.'),
  }),
  TASK_FAILURE_RETENTION_S: Type.Integer({
    default: 604_800,
    minimum: 1,
    maximum: 31_536_000,
    ...ofPart(
      BOTH,
      'Tasks that failed or timed out are kept this long, with their payloads, so that they can be looked at and retried, s.',
    ),
  }),
  TASK_RETENTION_COUNT: Type.Integer({
    default: 10_000,
    minimum: 1,
    maximum: 10_000_000,
    ...ofPart(BOTH, 'Finished tasks that are kept per artifact and status; from 1000 on up to 15 more.'),
  }),
  KEPT_MIB: Type.Number({
    default: 512,
    minimum: 1,
    maximum: 1_048_576,
    ...ofPart(
      BOTH,
      'What the finished tasks of one artifact may hold in Redis together, MiB: results, logs, frames, and payloads kept for a ' +
        'retry. The oldest go first, and the record of their task stays.',
    ),
  }),
  NAMESPACE_KEPT_MIB: Type.Number({
    default: 2048,
    minimum: 1,
    maximum: 16_777_216,
    ...ofPart(
      BOTH,
      'The same for all artifacts of a namespace together, MiB; looked at every ten seconds. The largest give first.',
    ),
  }),
  SYNC_WAIT_MS: Type.Integer({
    default: 60_000,
    minimum: 1,
    maximum: 900_000,
    ...ofPart(API, 'How long a sync caller waits if it does not say, ms; then it is answered 202.'),
  }),
  ALLOW_HOST_NETWORK: Type.Boolean({
    default: false,
    ...ofPart(
      BOTH,
      'Whether an artifact may ask for the network of the machine. Needs PILUM_API_KEY, and a Redis with a password or a socket: a function would have all of Pilum otherwise.',
    ),
  }),
  RESOLVER: Type.Optional(
    Type.String({
      pattern: '^[0-9a-fA-F.:\\[\\]]+(?:,[0-9a-fA-F.:\\[\\]]+)*$',
      ...ofPart(
        WORKER,
        'Servers that the names of functions with a relayed network (limits.network egress, or a list) are asked of, separated by ' +
          'commas: 10.0.0.2, 127.0.0.1:5353, [fd00::2]:53. Those of the machine by default; its /etc/hosts comes first.',
      ),
    }),
  ),
  NETWORK_DENY: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(
        WORKER,
        'Addresses that no function with a relayed network reaches, whatever its version names, separated by commas: ' +
          '10.0.0.0/8, 127.0.0.0/8, fd00::/16, 192.0.2.7.',
      ),
    }),
  ),
  DEPLOY_CHECK: Type.Boolean({
    default: true,
    ...ofPart(
      API,
      'Whether a worker starts a version of runtime process once before it is ready; a spec may say "check": false.',
    ),
  }),
  TRUST_PAGES: Type.Boolean({
    default: false,
    ...ofPart(
      API,
      'Whether pages that functions answer with below /fn may act as whoever opened them, on the API too: browsers run them in ' +
        'a sandbox otherwise.',
    ),
  }),
  WORKER_ID: Type.String({
    default: `${hostname()}-${process.pid}`,
    pattern: '^[A-Za-z0-9._-]{1,128}$',
    description: 'Name of the worker: 1 to 128 of A-Z a-z 0-9 . _ -; host and process id by default.',
    parts: WORKER,
  }),
  WORKER_CAPACITY: Type.Integer({
    default: 16,
    minimum: 1,
    maximum: 10_000,
    ...ofPart(WORKER, 'Tasks that one worker runs at once.'),
  }),
  WORKER_CPU: Type.Optional(
    Type.Number({
      minimum: 0.05,
      maximum: 10_000,
      description:
        'Processors that the running tasks of one worker may use together: each counts with its limits.cpu, an idle ' +
        'instance with none. As many as PILUM_WORKER_CAPACITY by default, or as the machine has where those are more: ' +
        'functions mostly wait, so that more of them run than there are processors. Less where they compute.',
      parts: WORKER,
    }),
  ),
  WORKER_MEMORY_MIB: Type.Integer({
    default: memoryShareMiB(0.8),
    minimum: 16,
    maximum: 16_777_216,
    description:
      'What all instances of one worker may use together, MiB: each counts with its limits.memoryMiB. ' +
      'Four fifths of the memory of the machine by default, or of the container where that may use less.',
    parts: WORKER,
  }),
  ISOLATION: Type.Enum(['sandbox', 'none'], {
    default: 'sandbox',
    ...ofPart(WORKER, 'none runs functions without any sandbox, as the user of the worker.'),
  }),
  FREEZE_AFTER_MS: Type.Integer({
    default: 100,
    minimum: 0,
    maximum: 86_400_000,
    ...ofPart(WORKER, 'An instance that has been idle for so long is frozen until it is called, ms; 0 for never.'),
  }),
  REQUIRE: Type.Optional(
    Type.String({
      pattern: WALL_LIST,
      ...ofPart(
        WORKER,
        `Walls without which a runtime of the worker runs nothing, by commas: ${WALL_NAMES.join(', ')}.`,
      ),
    }),
  ),
  PREWARM: Type.Integer({
    default: 4,
    minimum: 0,
    maximum: 64,
    ...ofPart(
      WORKER,
      'Prewarmed sandboxes that a worker keeps ready for each language, so that functions start fast; 0 for none.',
    ),
  }),
  WASM_ENGINE: Type.Enum(['auto', 'wasmtime', 'v8'], {
    default: 'auto',
    ...ofPart(WORKER, 'What runs WebAssembly; auto is wasmtime where it was built (npm run build:wasmtime), else V8.'),
  }),
  PYTHON: Type.Optional(Type.String({ ...ofPart(WORKER, 'Python interpreter; found on PATH by default.') })),
  INTERPRETERS: Type.String({
    default: 'auto',
    minLength: 1,
    ...ofPart(
      WORKER,
      'Versions of Node and Python that a spec may name (interpreter): auto for those on PATH, in /usr and /opt, and of pyenv, ' +
        'uv, nvm, fnm, asdf, mise and volta; none for the default ones alone; else paths by commas, each an executable, the ' +
        'place where one is installed, or a directory of such places.',
    ),
  }),
  DOCKER_HOST: Type.String({
    default: 'unix:///var/run/docker.sock',
    pattern: '^(unix:///|tcp://).+',
    ...ofPart(WORKER, 'The Docker Engine: unix:///path or tcp://host:port. It must see what lies in PILUM_DATA.'),
  }),
  DOCKER_DATA: Type.Optional(
    Type.String({
      pattern: '^/',
      description:
        'What the machine of the Engine calls the directory PILUM_DATA: for a worker that is in a container itself. The same by default.',
      parts: WORKER,
    }),
  ),
  DOCKER_RUNTIME: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,64}$',
      ...ofPart(
        WORKER,
        'OCI runtime that containers run with, as the Engine knows it; its default where it is not said.',
      ),
    }),
  ),
  DOCKER_ALLOW_ROOT: Type.Boolean({
    default: false,
    ...ofPart(WORKER, 'Whether an image that says USER root may run as root, without any capability all the same.'),
  }),
  DOCKER_CREDENTIALS: Type.Optional(
    Type.String({
      minLength: 1,
      ...ofPart(WORKER, 'File with names and passwords for registries, in the form of Docker’s config.json.'),
    }),
  ),
  DOCKER_PULL: Type.Enum(['missing', 'always'], {
    default: 'missing',
    ...ofPart(WORKER, 'Whether a deployment asks the registry also for an image that the Engine has under that name.'),
  }),
  DOCKER_PAUSE_AFTER_MS: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 86_400_000,
    ...ofPart(WORKER, 'A container that cannot be frozen is paused after so long without a call, ms; 0 for never.'),
  }),
  DOCKER_NODE_IMAGE: Type.String({
    default: 'node:26-slim',
    minLength: 1,
    ...ofPart(API, 'Image for Node functions of the docker runtime that name none.'),
  }),
  DOCKER_PYTHON_IMAGE: Type.String({
    default: 'python:3.11-slim-bookworm',
    minLength: 1,
    ...ofPart(API, 'Image for Python functions of the docker runtime that name none.'),
  }),
  CODE_CACHE_MIB: Type.Number({
    default: 1024,
    minimum: 1,
    maximum: 1_048_576,
    ...ofPart(
      WORKER,
      'Code that a worker keeps on disk, MiB; and as much again of layers, and of compiled WebAssembly.',
    ),
  }),
  TASK_LOG_LIMIT_KIB: Type.Integer({
    default: 256,
    minimum: 1,
    maximum: 16_384,
    ...ofPart(WORKER, 'Log of one task, KiB; the newest lines are kept.'),
  }),
  STREAM_WINDOW_MIB: Type.Number({
    default: 16,
    minimum: 0.001,
    maximum: 1024,
    ...ofPart(WORKER, 'Frames of one task that are kept for readers, MiB; the newest are kept.'),
  }),
  STREAM_WINDOW_FRAMES: Type.Integer({
    default: 100_000,
    minimum: 1,
    maximum: 10_000_000,
    ...ofPart(WORKER, 'Frames of one task that are kept for readers.'),
  }),
  STREAM_RETENTION_S: Type.Integer({
    default: 3600,
    minimum: 1,
    maximum: 31_536_000,
    ...ofPart(BOTH, 'Frames of a task that has ended are kept this long, s; no longer than the task itself.'),
  }),
  STREAM_READER_GRACE_MS: Type.Integer({
    default: 10_000,
    minimum: 100,
    maximum: 3_600_000,
    ...ofPart(
      WORKER,
      'A streamed task without a reader is cancelled after this long, ms, unless it was started with detach.',
    ),
  }),
  KILL_GRACE_MS: Type.Integer({
    default: 1000,
    minimum: 0,
    maximum: 60_000,
    ...ofPart(WORKER, 'From SIGTERM to SIGKILL of an instance, ms.'),
  }),
  DRAIN_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    maximum: 3_600_000,
    ...ofPart(BOTH, 'How long a stopping process waits for what it has begun, ms.'),
  }),
});
export type Configuration = Static<typeof Configuration>;
