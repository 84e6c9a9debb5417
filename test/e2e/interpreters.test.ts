// @needs bubblewrap, python
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPilum, type TestPilum } from '../support/pilum.ts';

let pilum: TestPilum;
/** The interpreters of the first worker, by language. */
let nodes: string[];
let pythons: string[];

beforeAll(async () => {
  pilum = await startPilum({ workers: 1, env: { PILUM_DEPLOY_CHECK: 'true', PILUM_INTERPRETERS: 'auto' } });
  const names = (await interpretersOf('worker-1')).map(({ name }) => name);
  nodes = names.filter((name) => name.startsWith('node'));
  pythons = names.filter((name) => name.startsWith('python'));
});
afterAll(() => pilum.close());

async function interpretersOf(workerId: string) {
  const { json } = await pilum.call('GET', '/v1/workers');
  const worker = (json.workers as WorkerInfo[]).find((one) => one.workerId === workerId);
  return worker?.runtimes.find(({ kind }) => kind === 'process')?.interpreters ?? [];
}

const JAVASCRIPT = 'export default () => "node" + process.versions.node.split(".")[0]';
const PYTHON =
  'import sys\ndef handler(event, context):\n    return "python%d.%d" % (sys.version_info[0], sys.version_info[1])\n';
const put = (id: string, spec: object) =>
  pilum.call('PUT', `/v1/artifacts/${id}`, { body: { runtime: 'process', ...spec } });

test('this machine has two versions of Node and of Python, as the tests of this file need', () => {
  expect(
    [nodes.length, pythons.length].every((count) => count >= 2),
    `${[...nodes, ...pythons]}`,
  ).toBe(true);
});

test('a worker says which interpreters it has, and which ones are the default', async () => {
  const all = await interpretersOf('worker-1');
  expect(all.filter(({ isDefault }) => isDefault)).toEqual([
    { name: expect.stringMatching(/^node/), version: process.versions.node, isDefault: true },
    { name: expect.stringMatching(/^python3\./), version: expect.stringMatching(/^3(\.\d+){2}$/), isDefault: true },
  ]);
});

test('a function runs on the interpreter that it names, from its deployment on, prewarmed or not', async () => {
  for (const name of [...nodes, ...pythons]) {
    const inline = name.startsWith('node') ? JAVASCRIPT : PYTHON;
    const id = `on-${name.replace('.', '-')}`;
    // The language follows from it, and so does the entry.
    const { status, json } = await put(id, { interpreter: name, code: { inline }, pool: { recycleAfterTasks: 1 } });
    expect([status, json.state, json.spec.interpreter], JSON.stringify(json)).toEqual([201, 'ready', name]);
  }
  for (let round = 0; round < 3; round++) {
    for (const name of [...nodes, ...pythons]) {
      const { body } = await pilum.invoke(`on-${name.replace('.', '-')}`, {});
      expect(body.result, JSON.stringify(body.error)).toBe(name);
    }
  }
});

test('a command finds it on its PATH, under the usual names', async () => {
  for (const name of pythons) {
    const code = 'import sys; print("python%d.%d" % sys.version_info[:2], end="")';
    await pilum.deploy('command', {
      interpreter: name,
      command: ['sh', '-c', `python3 -c '${code}' && python -V >&2`],
    });
    expect((await pilum.invoke('command', {})).body.result).toBe(name);
  }
  for (const name of nodes) {
    await pilum.deploy('command', { interpreter: name, command: ['node', '-p', '"node" + process.versions.node'] });
    expect((await pilum.invoke('command', {})).body.result).toMatch(new RegExp(`^${name}\\.`));
  }
});

test('a server runs on it as well', async () => {
  const [name] = nodes;
  const inline =
    'require("http").createServer((_, answer) => answer.end("node" + process.versions.node)).listen(process.env.PORT)';
  await pilum.deploy('server', {
    interpreter: name,
    protocol: 'http',
    command: ['node', 's.cjs'],
    entry: 's.cjs',
    code: { inline },
  });
  expect((await pilum.call('GET', '/fn/server')).text).toMatch(new RegExp(`^${name}\\.`));
});

test.each([{}, { check: false }])('one that no worker has is refused with those that there are (%o)', async (more) => {
  const { status, json } = await put('none', { interpreter: 'python3.99', code: { inline: PYTHON }, ...more });
  expect([status, json.error.code, json.error.details.problems[0].where]).toEqual([
    400,
    'VALIDATION_FAILED',
    '/body/interpreter',
  ]);
  expect(json.error.message).toContain(`is python3.99, which no live worker has: there are ${nodes[0]}`);
});

test.each([
  [{ interpreter: 'node22', language: 'python', code: { inline: PYTHON } }, /does not run a function in python/],
  [{ interpreter: 'python3.11', entry: 'index.mjs', code: { inline: JAVASCRIPT } }, /does not run a function in node/],
  [{ runtime: 'docker', interpreter: 'node22', code: { inline: JAVASCRIPT } }, /name one in code.image/],
  [{ interpreter: 'nodejs22.x', code: { inline: JAVASCRIPT } }, /node22/],
  [{ interpreter: '../python3.11', code: { inline: PYTHON } }, /interpreter/],
])('%o is refused', async (spec, message) => {
  const { status, json } = await put('none', spec);
  expect([status, json.error.message]).toEqual([400, expect.stringMatching(message)]);
});

test('a worker that lacks it leaves its tasks to those that have it', async () => {
  const name = pythons.find((one) => one !== 'python3.11') ?? '';
  await pilum.deploy('elsewhere', { interpreter: name, code: { inline: PYTHON }, pool: { recycleAfterTasks: 1 } });
  await pilum.addWorker({ PILUM_INTERPRETERS: 'none' });
  const [first] = pilum.workers;
  first?.signal('SIGTERM');
  await first?.ended;
  const others = (await interpretersOf('worker-2')).map((one) => one.name);
  expect(others).toHaveLength(2);
  // An API that has not heard of the first one: others remember it for a second.
  const { url } = await pilum.addApi();
  const refused = await fetch(`${url}/v1/artifacts/elsewhere/invoke`, { method: 'POST' });
  const body = (await refused.json()) as { error: { code: string; message: string } };
  expect([refused.status, body.error.code]).toEqual([503, 'NO_WORKER']);
  expect(body.error.message).toBe(`No live worker has ${name} (interpreter): there are ${others.join(', ')}.`);
  const { body: accepted } = await pilum.invoke('elsewhere', {}, '?mode=async');
  await pilum.addWorker();
  const { json } = await pilum.call('GET', `/v1/tasks/${accepted.taskId}?wait=60s`);
  expect([json.status, json.result, json.workerId]).toEqual(['completed', name, 'worker-3']);
});
