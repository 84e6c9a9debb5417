// @needs python, jq
// @set quick: the one road from end to end.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum());
});

describe('a function of one’s own', () => {
  it('is deployed and called in JavaScript, in TypeScript and in Python', async () => {
    await pilum.deploy('hello-js', { code: { inline: 'export default (e) => ({ hello: e.name })' } });
    await pilum.deploy('hello-ts', {
      entry: 'index.ts#greet',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the code of the function
      code: { inline: 'export const greet = async (e: { name: string }): Promise<string> => `hello ${e.name}`' },
    });
    await pilum.deploy('hello-py', {
      language: 'python',
      code: { inline: 'def handler(event, context):\n    return {"hello": event["name"], "task": context.task_id}\n' },
    });
    expect((await pilum.invoke('hello-js', { name: 'Ada' })).body).toMatchObject({
      status: 'completed',
      result: { hello: 'Ada' },
      statusEndpoint: '',
      estimatedCompletionMs: 0,
      version: 1,
      timing: { coldStart: true },
    });
    expect((await pilum.invoke('hello-js', { name: 'Bob' })).body).toMatchObject({
      result: { hello: 'Bob' },
      timing: { coldStart: false },
    });
    expect((await pilum.invoke('hello-ts', { name: 'Ada' })).body.result).toBe('hello Ada');
    const python = (await pilum.invoke('hello-py', { name: 'Ada' })).body;
    expect(python.result).toEqual({ hello: 'Ada', task: python.taskId });
  });

  it('is called now and asked for later', async () => {
    await pilum.deploy('slow', {
      code: { inline: 'export default async (e) => { await new Promise((r) => setTimeout(r, e.ms)); return e.ms; }' },
    });
    const accepted = await pilum.invoke('slow', { ms: 300 }, '?mode=async');
    expect(accepted.status).toBe(202);
    expect(accepted.body.status).toBe('pending');
    expect((await pilum.call('GET', `/v1/tasks/${accepted.body.taskId}/result`)).json.error.code).toBe('TASK_PENDING');
    const waited = await pilum.call('GET', `${accepted.body.statusEndpoint}?wait=20s`);
    expect(waited.json).toMatchObject({ status: 'completed', result: 300, mode: 'async' });
    expect((await pilum.call('GET', `/v1/tasks/${accepted.body.taskId}/result`)).text).toBe('300');
    // Measured once a second at most: it is there soon.
    const estimate = await waitFor(
      async () => (await pilum.invoke('slow', { ms: 1 }, '?mode=async')).body.estimatedCompletionMs,
      { what: 'an estimate', everyMs: 200 },
    );
    expect(estimate).toBeGreaterThan(0);
    const late = await pilum.invoke('slow', { ms: 600 }, '?wait=100ms');
    expect(late.status).toBe(202);
    expect((await pilum.call('GET', `${late.body.statusEndpoint}?wait=20s`)).json.result).toBe(600);
  });

  it('leaves its log and its list', async () => {
    await pilum.deploy('talk', {
      code: { inline: 'export default (e) => { console.log("one"); console.error("two"); return 3 }' },
    });
    const { body } = await pilum.invoke('talk', {});
    const logs = (await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text;
    expect(logs).toMatch(/INFO\s+one\n.*ERROR\s+two\n/);
    const listed = (await pilum.call('GET', '/v1/tasks?artifact=talk&status=completed')).json;
    expect(listed.tasks.map((task: { taskId: string }) => task.taskId)).toEqual([body.taskId]);
  });

  it('takes and gives any bytes, small and large', async () => {
    await pilum.deploy('echo', { code: { inline: 'export default (e) => e' } });
    for (const size of [0, 1, 40_000, 3_000_000]) {
      const payload = Buffer.alloc(size, 0xe4);
      const call = await pilum.call('POST', '/v1/artifacts/echo/invoke', {
        body: payload,
        headers: { 'content-type': 'application/octet-stream' },
      });
      expect(call.status).toBe(200);
      if (size === 0) continue;
      expect(Buffer.from(call.json.result.base64, 'base64').equals(payload)).toBe(true);
      const raw = await fetch(`${pilum.url}/v1/tasks/${call.json.taskId}/result`);
      expect(Buffer.from(await raw.arrayBuffer()).equals(payload)).toBe(true);
    }
    const text = await pilum.call('POST', '/v1/artifacts/echo/invoke', {
      body: 'grüße',
      headers: { 'content-type': 'text/plain' },
    });
    expect(text.json.result).toBe('grüße');
    const large = 'x'.repeat(7 * 1_048_576);
    const refused = await pilum.call('POST', '/v1/artifacts/echo/invoke', {
      body: large,
      headers: { 'content-type': 'text/plain' },
    });
    expect(refused.status).toBe(413);
    expect(refused.json.error.message).toContain('6 MiB');
  });

  it('runs what it was accepted with, whatever is deployed meanwhile', async () => {
    const version = (n: number) => ({
      code: { inline: `export default async (e) => { await new Promise((r) => setTimeout(r, e.ms)); return ${n}; }` },
    });
    await pilum.deploy('moving', version(1));
    const first = await pilum.invoke('moving', { ms: 500 }, '?mode=async');
    await pilum.deploy('moving', version(2));
    expect((await pilum.invoke('moving', { ms: 0 })).body).toMatchObject({ result: 2, version: 2 });
    expect((await pilum.call('GET', `${first.body.statusEndpoint}?wait=20s`)).json).toMatchObject({
      result: 1,
      version: 1,
    });
    expect((await pilum.invoke('moving@1', { ms: 0 })).body.result).toBe(1);
    await pilum.call('PUT', '/v1/artifacts/moving/aliases/live', { body: { version: 1 } });
    expect((await pilum.invoke('moving', { ms: 0 })).body.result).toBe(1);
  });

  it('may be a published package with its dependencies, in a tar', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pilum-package-'));
    try {
      writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
      writeFileSync(
        join(directory, 'index.mjs'),
        "import { marked } from 'marked';\nexport default (e) => marked.parse(e.markdown);\n",
      );
      execFileSync('npm', ['install', '--no-audit', '--no-fund', '--silent', 'marked@15'], { cwd: directory });
      execFileSync('tar', ['-czf', join(directory, '..', 'package.tgz'), '-C', directory, '.']);
      const tar = readFileSync(join(directory, '..', 'package.tgz'));
      const digest = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
      const uploaded = await pilum.call('PUT', `/v1/blobs/${digest}`, {
        body: tar,
        headers: { 'content-type': 'application/octet-stream' },
      });
      expect(uploaded.status).toBe(201);
      await pilum.deploy('markdown', { code: { digest, format: 'tar' } });
      const { body } = await pilum.invoke('markdown', { markdown: '# Hi *there*' });
      expect(body.result).toBe('<h1>Hi <em>there</em></h1>\n');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('may be any program of the machine', async () => {
    await pilum.deploy('jq', { command: ['jq', '-c', '{sum: (.numbers | add)}'] });
    expect((await pilum.invoke('jq', { numbers: [1, 2, 39] })).body.result).toEqual({ sum: 42 });
    const { status, body } = await pilum.invoke('jq', { numbers: 'no' });
    expect(status).toBe(502);
    expect(body.error).toMatchObject({ code: 'FUNCTION_FAILED' });
    expect(JSON.stringify(body.error)).toContain('jq: error');
  });

  it('is stopped at its run timeout, and the next call works', async () => {
    await pilum.deploy('spin', {
      timeouts: { runMs: 300 },
      code: { inline: 'export default (e) => { while (e.spin); return 1; }' },
    });
    const { status, body } = await pilum.invoke('spin', { spin: true });
    expect(status).toBe(504);
    expect(body).toMatchObject({ status: 'timeout', error: { code: 'TASK_TIMEOUT' } });
    expect((await pilum.invoke('spin', {})).body.result).toBe(1);
  });

  it('says what is wrong with it when it cannot start, and does not spin', async () => {
    await pilum.deploy('broken', { code: { inline: 'export default (e => {' } });
    const { status, body } = await pilum.invoke('broken', {});
    expect(status).toBe(502);
    expect(body.error?.code).toBe('INSTANCE_START_FAILED');
    expect(body.error?.message).toContain('SyntaxError');
    const began = Date.now();
    for (let i = 0; i < 5; i++)
      expect((await pilum.invoke('broken', {})).body.error?.code).toBe('INSTANCE_START_FAILED');
    expect(Date.now() - began).toBeLessThan(30_000);
  });

  it('that dies under every task is run again three times, and then says so', async () => {
    const inline = "export default () => { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}); }";
    await pilum.deploy('dying', { code: { inline } });
    const { status, body } = await pilum.invoke('dying', {});
    expect(status).toBe(502);
    expect(body.error?.code).toBe('INSTANCE_LOST');
    const logs = (await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text;
    expect(logs.match(/run again \(recovery/g)).toHaveLength(3);
  });

  it('that ends its own process has failed, and is not run again for that', async () => {
    await pilum.deploy('exiting', { code: { inline: 'export default () => process.exit(3)' } });
    const { body } = await pilum.invoke('exiting', {});
    expect(body).toMatchObject({
      attempt: 1,
      recoveries: 0,
      error: { code: 'FUNCTION_FAILED', details: { exitCode: 3 } },
    });
    const logs = (await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text;
    expect(logs).not.toContain('run again');
    const again = (await pilum.call('POST', '/v1/artifacts/exiting/invoke?attempts=2', { body: {} })).json;
    expect(again).toMatchObject({ attempt: 2, recoveries: 0, error: { code: 'FUNCTION_FAILED' } });
  });

  it('is accepted once for one idempotency key, also when two calls come at once', async () => {
    await pilum.deploy('once', { code: { inline: 'let n = 0; export default () => ++n' } });
    const call = () =>
      pilum.call('POST', '/v1/artifacts/once/invoke', { body: {}, headers: { 'idempotency-key': 'a key' } });
    const answers = await Promise.all([call(), call()]);
    expect(new Set(answers.map((answer) => answer.json.taskId)).size).toBe(1);
    expect(answers.map((answer) => answer.json.result)).toEqual([1, 1]);
    expect((await call()).json.result).toBe(1);
    expect((await pilum.invoke('once', {})).body.result).toBe(2);
  });
});

describe('what can be seen', () => {
  it('shows workers, instances, figures and the queue page', async () => {
    await pilum.deploy('seen', { code: { inline: 'export default () => 1' } });
    await pilum.invoke('seen', {});
    const workers = (await pilum.call('GET', '/v1/workers')).json.workers;
    expect(workers[0]).toMatchObject({
      workerId: 'worker-1',
      runtimes: [{ kind: 'process', available: true, isolation: 'sandbox' }, { kind: 'wasm' }, { kind: 'docker' }],
    });
    await waitFor(
      async () =>
        (await pilum.call('GET', '/v1/instances')).json.instances.some(
          (i: { artifactId: string }) => i.artifactId === 'seen',
        ),
      { what: 'the instance to be listed' },
    );
    const metrics = await waitFor(
      async () => {
        const { text } = await pilum.call('GET', '/metrics');
        return text.includes('artifact="seen"') && text;
      },
      { what: 'the figures of the artifact' },
    );
    expect(metrics).toMatch(/artifact="seen"[^\n]*\} 1/);
    expect((await pilum.call('GET', '/readyz')).status).toBe(200);
    expect((await pilum.call('GET', '/admin/queues')).status).toBe(200);
    expect((await pilum.call('GET', '/openapi.json')).json.openapi).toMatch(/^3\./);
  });
});
