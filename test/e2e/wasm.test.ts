import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { importing, writeOddModules } from '../support/module-bytes.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';
import { buildModules, modulesMissing } from '../support/wasm-modules.ts';

const missing = await modulesMissing();

// V8 is there wherever Node is; what is particular to an engine is a matter of the conformance suite.
describe.skipIf(missing !== null).each(['auto', 'v8'])('WebAssembly from end to end, engine %s', (engine) => {
  let pilum: TestPilum;
  const modules = makeTemporaryDirectory();
  const kept = keep();
  beforeAll(async () => {
    await buildModules(modules);
    writeOddModules(modules);
    pilum = kept.add(await startPilum({ env: { PILUM_WASM_ENGINE: engine } }));
  });

  const deploy = async (id: string, name: string, spec: Record<string, unknown> = {}) => {
    const digest = await upload(readFileSync(join(modules, `${name}.wasm`)));
    await pilum.deploy(id, { runtime: 'wasm', code: { digest }, ...spec });
  };
  const upload = async (body: Buffer) => {
    const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream' };
    await pilum.call('PUT', `/v1/blobs/${digest}`, { body, headers });
    return digest;
  };

  it('a module is deployed and called, cold and warm', async () => {
    await deploy('echo', 'echo');
    const first = await pilum.invoke('echo', { hello: 'Ada' });
    expect(first.body).toMatchObject({ status: 'completed', result: { hello: 'Ada' }, timing: { coldStart: true } });
    const second = await pilum.invoke('echo', { hello: 'Bob' });
    expect(second.body).toMatchObject({ result: { hello: 'Bob' }, timing: { coldStart: false } });
    expect(second.body.instanceId).toBe(first.body.instanceId);
  });

  it('functions of numbers and of bytes are called by name', async () => {
    await deploy('add', 'library', { entry: 'library.wasm#add' });
    await deploy('shout', 'library', { entry: 'library.wasm#shout' });
    expect((await pilum.invoke('add', [2, 40])).body.result).toBe(42);
    expect((await pilum.invoke('shout', 'hello')).body.result).toBe('HELLO');
    const refused = await pilum.invoke('add', [2]);
    expect([refused.status, refused.body.error?.code]).toEqual([400, 'VALIDATION_FAILED']);
  });

  it('a task that does not end is timed out or cancelled, and the next one runs', async () => {
    const command = ['hostile', 'loop'];
    await deploy('spins', 'hostile', { command, timeouts: { runMs: 400 } });
    const timedOut = await pilum.invoke('spins', {});
    expect([timedOut.status, timedOut.body.error?.code]).toEqual([504, 'TASK_TIMEOUT']);
    await deploy('spins-long', 'hostile', { command });
    const { taskId } = (await pilum.invoke('spins-long', {}, '?mode=async')).body;
    await waitFor(async () => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json.status === 'running');
    expect((await pilum.call('DELETE', `/v1/tasks/${taskId}`)).status).toBeLessThan(300);
    expect((await pilum.call('GET', `/v1/tasks/${taskId}?wait=5s`)).json.status).toBe('cancelled');
    await deploy('echo', 'echo');
    expect((await pilum.invoke('echo', [1])).body.result).toEqual([1]);
  });

  it('what a module prints on stderr is the log of its task', async () => {
    await deploy('about', 'about');
    const { taskId } = (await pilum.invoke('about', {})).body;
    const { text } = await pilum.call('GET', `/v1/tasks/${taskId}/logs`);
    expect(text).toContain('one');
    expect(text).toContain('three');
  });

  it('a module that no worker could run is refused at its deployment', async () => {
    const digest = await upload(importing(['env', 'invoke_iii']));
    const { status, json } = await pilum.call('PUT', '/v1/artifacts/emscripten', {
      body: { runtime: 'wasm', code: { digest } },
    });
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(json.error.message).toContain('env.invoke_iii');
  });

  it('the list of workers says which engine is in use', async () => {
    const workers = await waitFor(async () => {
      const { json } = await pilum.call('GET', '/v1/workers');
      return json.workers ?? json;
    });
    const [{ runtimes }] = workers;
    const wasm = runtimes.find(({ kind }: { kind: string }) => kind === 'wasm');
    expect(wasm).toMatchObject({
      available: true,
      engine: expect.stringMatching(engine === 'v8' ? /^v8 / : /^(wasmtime|v8) /),
    });
  });

  it('a module that has been deployed is compiled before it is called', async () => {
    const { json } = await pilum.call('GET', '/v1/workers');
    const [{ runtimes }] = json.workers ?? json;
    const wasm = runtimes.find(({ kind }: { kind: string }) => kind === 'wasm');
    if (!wasm.engine.startsWith('wasmtime')) return; // V8 compiles what it loads
    const compiled = () => compiledIn(pilum.dataDirectory).length;
    const before = compiled();
    await deploy('files', 'files');
    await waitFor(() => compiled() === before + 1, { what: 'the module to be compiled' });
  });
});

const compiledIn = (data: string) =>
  readdirSync(join(data, 'cache', 'wasm', 'compiled')).filter((name) => name.endsWith('.sha256'));
