// @needs redis, bubblewrap, python
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from '../support/docker.ts';
import { keep } from '../support/kept.ts';
import { launch } from '../support/launch.ts';
import { waitFor } from '../support/wait-for.ts';

const root = join(import.meta.dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const run = promisify(execFile);
const noEngine = await whyNoEngine();

/** A real `up` on a free port, with everything real below it. */
let up: ChildProcess;
let screen = '';
let port = 0;
const directory = mkdtempSync(join(tmpdir(), 'pilum-readme-'));
chmodSync(directory, 0o711);
const data = join(directory, 'data');

const partPid = (name: string): number => {
  const file = join(data, 'run', name);
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : 0;
};

const kept = keep();
beforeAll(async () => {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PILUM_')));
  up = launch(process.execPath, [join(root, 'apps/up/src/main.ts'), '--data', data, '--port', '0'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  kept.add(up, async () => {
    up.kill('SIGTERM');
    await once(up, 'exit');
  });
  const keep = (chunk: Buffer) => {
    screen += chunk.toString();
  };
  up.stdout?.on('data', keep);
  up.stderr?.on('data', keep);
  const shown = await waitFor(() => /Deploy a function and call it/.test(screen) && /127\.0\.0\.1:(\d+)/.exec(screen), {
    what: 'up to be ready',
  }).catch((error: Error) => {
    throw new Error(`${error.message}; the screen has:\n${screen}`);
  });
  port = Number(shown[1]);
});

/** Types a line of the docs as a reader would, but for the port. */
async function type(lines: string): Promise<string> {
  const { stdout } = await run('bash', ['-euc', lines.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`)], {
    cwd: directory,
  });
  return stdout;
}

const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
const block = (part: string) => blocks.find((candidate) => candidate.includes(part)) ?? 'false';

describe('what the README says', () => {
  it('works for a function in JavaScript', async () => {
    expect(await type(block('artifacts/hello '))).toContain('"result":{"hello":"Ada"}');
  });

  it('works for a layer, and for a function that depends on it', async () => {
    expect(await type(block('"layer"'))).toContain('"result":"hello Ada"');
  });

  it('works for a function in Python', async () => {
    expect(await type(block('hello-py'))).toContain('"result":{"hello":"Ada"}');
  });

  it('works for a program', async () => {
    expect(await type(block('sorted'))).toContain('"result":"c\\nb\\na\\n"');
  });

  it('works for web endpoints: a handler, a module with fetch, and a server', async () => {
    const handler = await type(block('artifacts/web '));
    expect(handler).toContain('HTTP/1.1 201');
    expect(handler).toContain('x-path: /any/path');
    expect(handler).toContain('{"a":"1"}');
    expect(handler).toMatch(/\{"url":"http:\/\/127\.0\.0\.1:\d+\/some\/where"\}/);
    expect(await type(block('artifacts/served '))).toContain('GET /any/path?a=1');
  });

  it('works for a call that does not wait', async () => {
    const [call = '', , ask = ''] = block('mode=async').split('\n');
    const accepted = JSON.parse(await type(call)) as { taskId: string; status: string };
    expect(accepted.status).toBe('pending');
    expect(await type(ask.replace('hello.01…', accepted.taskId))).toContain('"result":{"hello":"Ada"}');
  });

  it('works for a function that yields', async () => {
    const [deploy = '', calls = ''] = block('artifacts/count ').split('\n\n');
    await type(deploy);
    const lines = calls.split('\n');
    const events = await type(lines[0] ?? 'false');
    const taskId = /"taskId":"([^"]+)"/.exec(events)?.[1] ?? '';
    expect(events.match(/^id: \d+$/gm)).toEqual(['id: 1', 'id: 2', 'id: 3', 'id: 4', 'id: 5', 'id: 6']);
    const [again = '', logs = ''] = lines.filter((line) => line.includes('count.01…'));
    expect((await type(again.replace('count.01…', taskId))).match(/^id: \d+$/gm)).toEqual(['id: 4', 'id: 5', 'id: 6']);
    expect((await type(logs.replace('count.01…', taskId))).match(/"text":"at \d"/g)).toHaveLength(5);
  });

  it('works for a function that may fail', async () => {
    const [deploy = '', list = ''] = block('flaky').split('\n\n');
    expect(await type(deploy)).toContain('"result":3');
    const [listing = '', retry = ''] = list.split('\n');
    expect(await type(listing)).toContain('"tasks":[]');
    expect(await type(retry)).toContain('"retried":[]');
  });

  it('works for files in an archive', async () => {
    mkdirSync(join(directory, 'my-function/lib'), { recursive: true });
    writeFileSync(
      join(directory, 'my-function/index.mjs'),
      "import { two } from './lib/two.mjs';\nexport default () => two;\n",
    );
    writeFileSync(join(directory, 'my-function/lib/two.mjs'), 'export const two = 2;\n');
    await type(block('my-function'));
    const answer = await fetch(`http://127.0.0.1:${port}/v1/artifacts/my-function/invoke`, { method: 'POST' });
    expect(((await answer.json()) as { result: unknown }).result).toBe(2);
  });

  it.skipIf(noEngine !== null)('works for a function in a container', async () => {
    expect(await type(block('artifacts/boxed'))).toContain('"result":{"hello":"Ada"}');
  });

  it('and docs/secrets.md works for a secret, and for the rotation of its key', async () => {
    const page = readFileSync(join(root, 'docs/secrets.md'), 'utf8');
    const out = await type(/```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? 'false');
    expect(out).toContain('"usedBy":[]');
    expect(out).toContain('"result":21');
    expect(out).not.toContain('correct horse');
    const secrets = async (...args: string[]) =>
      (await run(process.execPath, [join(root, 'tools/secrets.ts'), ...args, '--data', data])).stdout;
    const file = join(data, 'secrets.key');
    writeFileSync(file, (await secrets('new-key')) + readFileSync(file, 'utf8'));
    expect(await secrets('rotate')).toMatch(/^1 secrets were encrypted anew/);
    expect(await secrets('check')).toMatch(/^[0-9a-f]{16} {3}1 secrets {3}the first key\n$/);
    writeFileSync(file, await secrets('new-key'));
    await expect(secrets('check')).rejects.toMatchObject({ stdout: expect.stringContaining('MISSING') });
  });

  it('names every page that is there', () => {
    for (const [, path = ''] of readme.matchAll(/\]\((docs\/[^)]+)\)/g))
      expect(existsSync(join(root, path.split('#', 1)[0] ?? '')), path).toBe(true);
    expect(readdirSync(join(root, 'docs/decisions')).length).toBeGreaterThan(0);
  });
});

describe('a part that is killed under up', () => {
  const url = (path: string) => `http://127.0.0.1:${port}/v1${path}`;
  const post = async (path: string, body: unknown) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(url(path), { method: 'POST', headers, body: JSON.stringify(body) });
    return (await answer.json()) as { taskId: string; status: string; result: unknown };
  };
  const outcome = async (taskId: string) => {
    const look = async () => {
      const answer = await fetch(url(`/tasks/${taskId}?wait=5s`)).catch(() => null);
      if (answer?.status !== 200) return false;
      const task = (await answer.json()) as { status: string; result: unknown };
      return task.status !== 'pending' && task.status !== 'running' && task;
    };
    return await waitFor(look, { what: `the outcome of ${taskId}`, everyMs: 100 });
  };

  it.each(['worker-1', 'api', 'redis'])(
    'comes back by itself and loses no accepted task: %s',
    async (part) => {
      const spec = {
        runtime: 'process',
        code: { inline: 'export default async (e) => { await new Promise((r) => setTimeout(r, e.ms)); return e.ms; }' },
      };
      const headers = { 'content-type': 'application/json' };
      await fetch(url('/artifacts/wait'), { method: 'PUT', headers, body: JSON.stringify(spec) });
      const accepted: string[] = [];
      for (const ms of [1500, 1501, 1, 2, 3])
        accepted.push((await post('/artifacts/wait/invoke?mode=async', { ms })).taskId);
      // What was accepted in the last second may go with a machine, never with a process: its bytes are the kernel's.
      await waitFor(() => partPid(part) > 0, { what: `${part} to be known` });
      const before = partPid(part);
      process.kill(before, 'SIGKILL');
      await waitFor(() => partPid(part) > 0 && partPid(part) !== before, { what: `${part} to be started again` });
      for (const [i, taskId] of accepted.entries()) {
        expect(await outcome(taskId)).toMatchObject({ status: 'completed', result: [1500, 1501, 1, 2, 3][i] });
      }
      const next = await waitFor(() => post('/artifacts/wait/invoke', { ms: 5 }).catch(() => false), {
        what: 'the next call to be answered',
      });
      expect(next).toMatchObject({ status: 'completed', result: 5 });
    },
    60_000,
  );
});
