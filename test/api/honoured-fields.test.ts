import type { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { ArtifactSpec, ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { convert, problemsOf } from '@pilum/core/schemas/check.ts';
import { LAYER_FIELDS, PILUM_FIELDS, PROTOCOL_FIELDS, RUNTIME_FIELDS } from '@pilum/core/spec/fields.ts';
import { PROTOCOLS, type Protocol } from '@pilum/core/spec/protocols.ts';
import { builtProtocols, RUNTIME_KINDS, type RuntimeKind, runtimeRow } from '@pilum/core/spec/runtimes.ts';
import { describe, expect, it } from 'vitest';
import { resolveSpec } from '../../apps/api/src/artifacts/resolve-spec.ts';

const options = { allowHostNetwork: true, images: { node: 'node', python: 'python' } };
const digest = `sha256:${'a'.repeat(64)}`;

/** A value of each field that is none of its defaults. */
const ASKED: Readonly<Record<string, unknown>> = {
  public: true,
  cors: { origins: ['*'] },
  'timeouts.runMs': 7,
  'timeouts.queueMs': 7,
  'timeouts.startMs': 7,
  'retry.attempts': 7,
  'retry.recoveries': 7,
  'retry.backoff': { type: 'fixed' },
  'pool.min': 1,
  'pool.max': 7,
  'pool.idleTimeoutMs': 7,
  'pool.healthCheckIntervalMs': 777,
  'pool.policy': 'random',
  'pool.recycleAfterTasks': 7,
  'pool.recycleAfterMs': 7000,
  'pool.concurrency': 7,
  labels: { a: 'b' },
  env: { A: 'b' },
  dependsOn: ['a@1'],
  writable: [{ path: '/srv', sizeMiB: 1 }],
  'limits.memoryMiB': 77,
  'limits.cpu': 0.5,
  'limits.pids': 7,
  'limits.diskMiB': 7,
  'limits.outputMiB': 7,
  'limits.network': 'host',
  check: true,
  language: 'python',
  entry: undefined,
  command: ['serve'],
  http: { healthPath: '/' },
};

/** The least that a runtime runs with a protocol. */
const LEAST: Readonly<Partial<Record<RuntimeKind, Readonly<Partial<Record<Protocol, object>>>>>> = {
  process: {
    handler: { code: { digest, format: 'tar' } },
    stdio: { command: ['cat'], code: { digest, format: 'tar' } },
    http: { command: ['serve'] },
  },
  docker: {
    handler: { code: { digest, format: 'tar' } },
    stdio: { code: { image: 'busybox:1' } },
    http: { code: { image: 'nginx' } },
  },
  wasm: { wasi: { code: { digest } } },
};

/** What is honoured, said a second time and by hand: a field that is not here is honoured by all. */
const HONOURED_BY: Readonly<Record<string, (runtime: RuntimeKind, protocol: Protocol) => boolean | 'later'>> = {
  writable: (runtime) => runtime !== 'wasm',
  'limits.pids': (runtime) => runtime !== 'wasm',
  'limits.diskMiB': (runtime) => runtime !== 'wasm',
  'limits.network': (runtime) => runtime !== 'wasm',
  check: (runtime) => runtime === 'process',
  language: (_, protocol) => protocol === 'handler',
  command: (_, protocol) => protocol !== 'handler',
  http: (_, protocol) => protocol === 'http',
  'pool.concurrency': (_, protocol) => (protocol === 'handler' ? 'later' : protocol === 'http'),
};

const pairs = RUNTIME_KINDS.filter((kind) => runtimeRow(kind).isBuilt).flatMap((runtime) =>
  builtProtocols(runtime).map((protocol) => [runtime, protocol] as const),
);

/** The value at a field, and nothing else. */
function only(field: string, value: unknown): Record<string, unknown> {
  const [outer = '', inner] = field.split('.');
  return { [outer]: inner === undefined ? value : { [inner]: value } };
}

/** What a spec is told; null where it is taken. */
function told(spec: object): { code: string; where: string[]; what: string } | null {
  expect(problemsOf(ArtifactSpecInput, spec)).toEqual([]);
  try {
    resolveSpec(spec as ArtifactSpecInput, options);
    return null;
  } catch (error) {
    const { code, message, details } = error as PilumError;
    const problems = (details?.problems ?? []) as { where: string; what: string }[];
    return { code, where: problems.map(({ where }) => where), what: problems[0]?.what ?? message };
  }
}

/** The fields of a spec as the tables name them: those of an object inside one by one, where each has its own meaning. */
function fieldsOfSchema(): string[] {
  const grouped = ['limits', 'timeouts', 'retry', 'pool'];
  const properties = ArtifactSpecInput.properties as Record<string, { properties?: object }>;
  return Object.entries(properties).flatMap(([name, schema]) =>
    grouped.includes(name) ? Object.keys(schema.properties ?? {}).map((inner) => `${name}.${inner}`) : [name],
  );
}

it('every field of the schema stands in one list, so that each table has to say what becomes of it', () => {
  const listed: string[] = [...PILUM_FIELDS, ...RUNTIME_FIELDS, ...PROTOCOL_FIELDS, 'code'];
  expect(listed.sort()).toEqual(fieldsOfSchema().sort());
  expect(PROTOCOLS).toEqual(expect.arrayContaining(RUNTIME_KINDS.flatMap((kind) => runtimeRow(kind).protocols)));
});

describe.each(pairs)('a spec for runtime %s and protocol %s', (runtime, protocol) => {
  const least = { runtime, protocol, ...LEAST[runtime]?.[protocol] };

  it('is taken where it says the least', () => {
    expect(told(least)).toBeNull();
  });

  it.each(Object.entries(ASKED).filter(([, value]) => value !== undefined))(
    'is taken with %s, or refused by that name and a reason',
    (field, value) => {
      const honoured = HONOURED_BY[field]?.(runtime, protocol) ?? true;
      const answer = told({ ...least, ...only(field, value), ...(field === 'language' ? { entry: 'a.py' } : {}) });
      const where = `/body/${field.replace('.', '/')}`;
      if (honoured === true) expect(answer).toBeNull();
      else if (honoured === 'later') expect(answer).toMatchObject({ code: 'NOT_IMPLEMENTED' });
      else {
        expect(answer).toMatchObject({ code: 'VALIDATION_FAILED', where: expect.arrayContaining([where]) });
        expect(answer?.what).toMatch(/^is (?:not for runtime|for protocols?) \w+/);
      }
    },
  );

  it('is taken again as its version shows it, with every default', () => {
    const { code: _resolved, ...spec } = resolveSpec(least as ArtifactSpecInput, options).spec;
    const { code } = least as { code?: object };
    expect(told({ ...spec, ...(code === undefined ? {} : { code }) })).toBeNull();
  });
});

it('a value that is the default asks for nothing', () => {
  const { limits } = convert(ArtifactSpec, {}) as ArtifactSpec;
  expect(told({ runtime: 'wasm', code: { digest }, limits, pool: { concurrency: 1 } })).toBeNull();
  expect(told({ runtime: 'wasm', code: { digest }, limits: { ...limits, pids: limits.pids + 1 } })?.where).toEqual([
    '/body/limits/pids',
  ]);
});

it.each(Object.entries(ASKED).filter(([, value]) => value !== undefined))(
  'a layer has no %s, but for what holds files',
  (field, value) => {
    const [name = ''] = field.split('.');
    const answer = told({ runtime: 'layer', code: { inline: 'a' }, entry: 'a', ...only(field, value) });
    if ((LAYER_FIELDS as readonly string[]).includes(name)) expect(answer).toBeNull();
    else expect(answer).toMatchObject({ code: 'VALIDATION_FAILED', where: [`/body/${name}`] });
  },
);

it.each([
  ['stdio', { runtime: 'process', command: ['env'] }],
  ['wasi', { runtime: 'wasm', code: { digest } }],
])('a variable that %s sets for each task is refused by name', (_protocol, spec) => {
  expect(told({ ...spec, env: { PILUM_TASK_ID: 'mine', OTHER: 'mine' } })?.where).toEqual(['/body/env/PILUM_TASK_ID']);
});

it.each([
  ['process', 'wasi'],
  ['wasm', 'lambda'],
  ['docker', 'wasi'],
])('runtime %s is not asked for protocol %s, which it will never have', (runtime, protocol) => {
  expect(told({ runtime, protocol, code: { digest } })).toMatchObject({
    code: 'VALIDATION_FAILED',
    where: ['/body/protocol'],
  });
});

it('an image that runs its own command has no entry, and a command of the machine nothing to start ahead', () => {
  expect(told({ runtime: 'docker', code: { image: 'busybox:1' }, entry: 'a.sh' })?.where).toEqual(['/body/entry']);
  expect(told({ runtime: 'process', command: ['cat'], check: true })?.where).toEqual(['/body/check']);
  expect(told({ runtime: 'process', command: ['cat'], check: false })).toBeNull();
});
