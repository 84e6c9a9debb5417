import type { Version } from '@pilum/core/schemas/artifact.ts';
import { isArgument } from '@pilum/core/schemas/text.ts';
import { staysInside, versionTextProblems } from '@pilum/core/schemas/version-texts.ts';
import fc from 'fast-check';
import { createOptions } from '../../../apps/worker/src/runtimes/docker/container-plan.ts';
import { encodeArguments } from '../../../apps/worker/src/runtimes/sandbox/bubblewrap.ts';
import { planLaunch } from '../../../apps/worker/src/runtimes/sandbox/launch-plan.ts';
import type { Machine } from '../../../apps/worker/src/runtimes/sandbox/machine.ts';
import { openApi, PORT } from '../support/api.ts';
import type { FuzzTarget } from '../target.ts';

/** Pieces that mean something to whatever a text may end in. */
const ODD = [
  '\0',
  '\n',
  '\r\n',
  '\ud800',
  '\udfff',
  '\u2028',
  '\u001b[31m',
  '..',
  '/',
  '//',
  '../../etc/passwd',
  '--bind',
  '--share-net',
  '-c',
  '=',
  ':',
  '@',
  '#',
  '{}',
  '$(id)',
  '`id`',
  "'",
  '"',
  '\\',
  '%00',
  '%2e%2e',
  'sha256:',
  '€',
  '😀',
];
const text = fc.oneof(
  { weight: 2, arbitrary: fc.string() },
  {
    weight: 3,
    arbitrary: fc
      .array(fc.oneof(fc.constantFrom(...ODD), fc.constantFrom('a', 'index.mjs', 'x')), { maxLength: 5 })
      .map((parts) => parts.join('')),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 1, arbitrary: fc.nat({ max: 70_000 }).map((length) => 'x'.repeat(length)) },
);
const good = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const mostlyGood = fc.oneof({ weight: 4, arbitrary: good }, { weight: 1, arbitrary: text });
const anything = fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) });

const variable = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,9}$/);
/** What is taken. */
const sound = fc.oneof(
  fc.record({
    runtime: fc.constant('process'),
    protocol: fc.constantFrom('stdio', 'http'),
    command: fc.array(good, { minLength: 1, maxLength: 4 }),
    env: fc.dictionary(variable, good, { maxKeys: 3 }),
  }),
  fc.record({
    runtime: fc.constant('process'),
    code: fc.record({ inline: good }),
    entry: good.map((name) => `${name}.mjs#run`),
    labels: fc.dictionary(good, good, { maxKeys: 3 }),
  }),
);

/** What may stand in the place of a field that is sound. */
const FIELDS = {
  runtime: anything,
  protocol: fc.constantFrom('handler', 'stdio', 'http', 'wasi', 'none'),
  code: fc.record(
    { inline: text, digest: text, image: text, format: fc.constantFrom('file', 'tar', 'zip') },
    { requiredKeys: [] },
  ),
  entry: fc.oneof(
    text.map((name) => `${name}.mjs`),
    fc.tuple(text, text).map(([file, name]) => `${file}#${name}`),
  ),
  command: fc.array(mostlyGood, { maxLength: 4 }),
  env: fc.oneof(fc.dictionary(variable, mostlyGood, { maxKeys: 5 }), fc.dictionary(text, mostlyGood, { maxKeys: 12 })),
  http: fc.record({ healthPath: text.map((path) => `/${path}`) }, { requiredKeys: [] }),
  labels: fc.dictionary(mostlyGood, mostlyGood, { maxKeys: 4 }),
  limits: fc.dictionary(
    fc.constantFrom('memoryMiB', 'cpu', 'network', 'pids', 'x'),
    fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.double(), text),
    { maxKeys: 2 },
  ),
  dependsOn: fc.array(text, { maxLength: 2 }),
  unknown: anything,
};

const change = fc.oneof(
  ...Object.entries(FIELDS).map(([field, values]: [string, fc.Arbitrary<unknown>]) =>
    fc.tuple(fc.constant(field), values),
  ),
);
const spec = fc
  .tuple(sound, fc.array(change, { maxLength: 2 }))
  .map(([base, changes]) => ({ ...base, ...Object.fromEntries(changes) }));

/** Nothing here is started: the plan is what counts. */
const MACHINE: Machine = {
  worker: {} as Machine['worker'],
  layout: { symlinks: [], visible: ['/usr'] },
  staged: { node: '/node', bootstrapDirectory: '/bootstrap', bootstraps: [], filter: null, etc: [] },
  python: { ok: false, problem: '' },
  interpreters: {} as Machine['interpreters'],
  cgroups: null,
  orphans: null,
  pipes: {} as Machine['pipes'],
  counting: 'namespace',
  scheduler: [],
  users: null,
  networks: null,
  inheritedDescriptors: [],
};
const SANDBOX = { path: '/bwrap', filter: null, features: { disableUserns: true, size: true, perms: true } };

/** @throws Error where something of a version that was taken would become something else where it is used */
function requirePlain(version: Version): void {
  const { spec: taken, code } = version;
  const [problem] = versionTextProblems(version);
  if (problem !== undefined) throw new Error(`${problem.where} was taken and must not be used`);
  if (code !== null && !staysInside(code)) throw new Error(`the file ${JSON.stringify(code.fileName)} is outside`);
  const { limits, env, command = [] } = taken;
  const wanted = { limits, codeDirectory: '/var/code', layers: [] };
  const program = { kind: 'command', env, command: () => command, stdin: 'ignore', channel: false } as const;
  const plan = planLaunch(MACHINE, wanted, program, SANDBOX);
  const args = plan.sandbox?.args ?? [];
  if (![...plan.command, ...args].every(isArgument)) throw new Error('an argument is none');
  const sent = encodeArguments(args).toString().split('\0').length - 1;
  if (sent !== args.length) throw new Error(`${args.length} arguments became ${sent}`);
  createOptions({
    name: 'a',
    labels: {},
    image: 'sha256:0',
    user: '1:1',
    kind: 'command',
    command,
    workingDirectory: null,
    env,
    mounts: {},
    limits,
    attached: true,
    ociRuntime: null,
  });
}

/** What `PUT /v1/artifacts/{id}` is sent. */
export const target: FuzzTarget = {
  name: 'specs',
  holds: 'no spec has the API fail, and what is taken of it makes no argument, path or variable of its own',
  async open() {
    const { app, close } = await openApi();
    const property = fc.asyncProperty(spec, async (asked) => {
      const { statusCode, body } = await app.inject({
        method: 'PUT',
        url: '/v1/artifacts/odd',
        headers: { host: `127.0.0.1:${PORT}`, 'content-type': 'application/json' },
        payload: JSON.stringify(asked),
      });
      const answer = JSON.parse(body) as { error?: { code: string; message: string } };
      if (statusCode >= 500 && answer.error?.code !== 'NOT_IMPLEMENTED' && answer.error?.code !== 'NO_WORKER') {
        throw new Error(`${statusCode} ${body}`);
      }
      if (statusCode >= 400) {
        if (typeof answer.error?.message !== 'string') throw new Error(`no error: ${body}`);
        return;
      }
      requirePlain(answer as unknown as Version);
      await app.inject({ method: 'DELETE', url: '/v1/artifacts/odd', headers: { host: `127.0.0.1:${PORT}` } });
    });
    return { property, close };
  },
};
