import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const GRACE_MS = 3000;

/** Writes down what it hears, also where no outcome and no log of its task keeps it any more. */
const HEEDS = `
import { appendFileSync } from 'node:fs';
export default ({ file }, { signal }) =>
  new Promise((resolve) => {
    const say = (text) => { console.log(text); appendFileSync(file, text + '\\n'); };
    signal.addEventListener('abort', () => {
      say(signal.reason.name);
      setTimeout(() => { say('cleaned up'); resolve('too late'); }, 500);
    });
    say('running');
  });
`;

let pilum: TestPilum;
let directory: string;
const kept = keep();
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pilum-signal-'));
  await chmod(directory, 0o711);
  pilum = kept.add(
    await startPilum({
      env: { PILUM_ISOLATION: 'none', PILUM_KILL_GRACE_MS: String(GRACE_MS), PILUM_DRAIN_MS: '0' },
    }),
  );
  await pilum.deploy('heeds', { code: { inline: HEEDS }, timeouts: { runMs: 1000 } });
  await pilum.deploy('heeds-long', { code: { inline: HEEDS } });
});

/** A file that each instance may write to, as the user that it is. */
async function fileFor(name: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, '');
  await chmod(file, 0o666);
  return file;
}

const said = async (file: string) => (await readFile(file, 'utf8')).split('\n').filter(Boolean);
const says = (file: string, lines: string[]) =>
  waitFor(async () => (await said(file)).join() === lines.join(), { what: `${lines} in ${file}` });
const logOf = async (taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}/logs`)).text;

describe('context.signal', () => {
  it('fires at the run timeout; the outcome does not wait for what follows, and the log ends with the outcome', async () => {
    const file = await fileFor('timeout');
    const { status, body } = await pilum.invoke('heeds', { file });
    expect([status, body.status]).toEqual([504, 'timeout']);
    await says(file, ['running', 'TimeoutError', 'cleaned up']);
    const log = await logOf(body.taskId);
    expect(log).toContain('running');
    expect(log).not.toContain('cleaned up');
  });

  it('fires at a cancel', async () => {
    const file = await fileFor('cancel');
    const { taskId } = (await pilum.invoke('heeds-long', { file }, '?mode=async')).body;
    await says(file, ['running']);
    expect((await pilum.call('DELETE', `/v1/tasks/${taskId}`)).json.status).toBe('cancelled');
    await says(file, ['running', 'TaskCancelled', 'cleaned up']);
  });

  it('fires when the worker stops, and the task is run again by another', async () => {
    const file = await fileFor('stop');
    const { taskId } = (await pilum.invoke('heeds-long', { file }, '?mode=async')).body;
    await says(file, ['running']);
    pilum.workers[0]?.signal('SIGTERM');
    await says(file, ['running', 'WorkerStopping', 'cleaned up']);
    expect(await pilum.workers[0]?.ended).toBe(0);
    await pilum.addWorker();
    await says(file, ['running', 'WorkerStopping', 'cleaned up', 'running']);
    await pilum.call('DELETE', `/v1/tasks/${taskId}`);
  });
});
