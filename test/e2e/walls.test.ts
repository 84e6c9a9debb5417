import { missingWalls, WALL_NAMES } from '@pilum/core/spec/walls.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_REQUIRE: 'sandbox,seccomp,memory,cpu,pids,freezer' } }));
});

type Walls = Record<string, string | null>;
const wallsOf = async (kind: string): Promise<Walls> => {
  const { workers } = (await pilum.call('GET', '/v1/workers')).json;
  return workers[0].runtimes.find((runtime: { kind: string }) => runtime.kind === kind).walls;
};

describe('the walls of a worker', () => {
  it('are listed for each runtime, and are all in force around processes and modules', async () => {
    for (const kind of ['process', 'wasm']) {
      const walls = await wallsOf(kind);
      expect(Object.keys(walls), kind).toEqual(WALL_NAMES);
      // V8 in place of wasmtime has no limit on processors, and says so.
      expect(
        missingWalls(walls).filter(({ why }) => !why.startsWith('V8')),
        kind,
      ).toEqual([]);
    }
    await pilum.deploy('echo', { code: { inline: 'export default (event) => event' } });
    expect((await pilum.invoke('echo', { a: 1 })).body).toMatchObject({ status: 'completed', result: { a: 1 } });
  });

  it('that are required and not there keep a worker from starting, with a line that says which and why', async () => {
    const env = { PILUM_ISOLATION: 'none', PILUM_REQUIRE: 'sandbox', PILUM_DOCKER_HOST: 'unix:///nowhere/docker.sock' };
    await expect(pilum.addWorker(env)).rejects.toThrow(
      /ended with 78[\s\S]*PILUM_REQUIRE names sandbox, which is not in force \(functions run without a sandbox/,
    );
  });

  it('that do not exist are an error of the configuration', async () => {
    await expect(pilum.addWorker({ PILUM_REQUIRE: 'moat' })).rejects.toThrow(/ended with 78[\s\S]*PILUM_REQUIRE/);
  });
});

describe('functions of several namespaces', () => {
  it('of one id and one code have instances of their own', async () => {
    const body = {
      runtime: 'process',
      code: { inline: 'let calls = 0; export default () => ({ calls: ++calls });' },
    };
    const call = async (namespace: string, method: string, path: string, more: object) =>
      await pilum.call(method, path, { body: more, headers: { 'pilum-namespace': namespace } });
    const instances = new Set<string>();
    for (const namespace of ['red', 'blue']) {
      expect((await call(namespace, 'PUT', '/v1/artifacts/twin', body)).status).toBe(201);
      for (const calls of [1, 2]) {
        const { json } = await call(namespace, 'POST', '/v1/artifacts/twin/invoke', {});
        expect(json).toMatchObject({ status: 'completed', result: { calls } });
        instances.add(json.instanceId);
      }
    }
    expect(instances.size).toBe(2);
  });
});
