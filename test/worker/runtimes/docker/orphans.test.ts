import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { removeContainer } from '../../../../apps/worker/src/runtimes/docker/container.ts';
import { socketDirsIn } from '../../../../apps/worker/src/runtimes/docker/instance-socket-dir.ts';
import { LABELS, labelsFor } from '../../../../apps/worker/src/runtimes/docker/labels.ts';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { containersOf, engine, IMAGES, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();
const DOOMED = fileURLToPath(new URL('./doomed-docker-worker.ts', import.meta.url));

describe.skipIf(why !== null)('what a worker leaves in the Engine', () => {
  let bench: Bench;
  let staging: string;
  const kept = keep();
  beforeAll(async () => {
    bench = kept.add(await Bench.of(await dockerUnderTest()), (b) => b.open.close());
    // <staging>/code/test
    staging = dirname(dirname(bench.open.codeDirectory));
    await bench.open.runtime.check();
  });

  const doomed = async () => {
    const workerId = `doomed-${randomUUID()}`;
    const worker = execa(process.execPath, [DOOMED, staging, bench.open.codeDirectory, workerId], { reject: false });
    onTestFinished(async () => {
      worker.kill('SIGKILL');
      for (const { Id } of await containersOf(workerId)) await removeContainer(engine, Id);
    });
    expect(await Promise.race([worker.iterable().next(), worker])).toMatchObject({ value: 'up' });
    return { worker, workerId };
  };

  test('goes after a kill, with its directories, and what is a live or a stopped one’s stays', async () => {
    const live = await bench.start({ entry: 'echo.mjs' });
    const stopped = await doomed();
    const killed = await doomed();
    expect(await containersOf(killed.workerId)).toHaveLength(2);
    stopped.worker.kill('SIGSTOP');
    const before = readdirSync(socketDirsIn(staging)).length;
    killed.worker.kill('SIGKILL');
    await killed.worker;
    // Any other worker of this machine may be at it as well.
    await waitFor(
      async () => {
        await bench.open.runtime.removeOrphans();
        return (await containersOf(killed.workerId)).length === 0;
      },
      { what: 'their removal' },
    );
    expect(readdirSync(socketDirsIn(staging))).toHaveLength(before - 2);
    expect((await containersOf(stopped.workerId)).map(({ State }) => State)).toEqual(['running', 'running']);
    expect((await live.call({ still: 'there' })).value).toEqual({ still: 'there' });
    stopped.worker.kill('SIGCONT');
  });

  test('of a worker in another container goes when nobody listens any more where it did', async () => {
    const workerId = `elsewhere-${randomUUID()}`;
    const label = `7-${Date.now()}-1`;
    const path = join(socketDirsIn(staging), `${label}-life`);
    const listener = execa(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
    ]);
    listener.catch(() => undefined);
    await listener.iterable().next();
    const labels = { ...(await labelsFor(workerId, 'i', 'a/a@1')), [LABELS.owner]: `${label}-` };
    const container = await engine.createContainer({ Image: IMAGES.busybox, Cmd: ['sleep', '1000'], Labels: labels });
    onTestFinished(async () => {
      listener.kill('SIGKILL');
      await removeContainer(engine, container.id);
    });
    await container.start();
    await bench.open.runtime.removeOrphans();
    listener.kill('SIGSTOP');
    await bench.open.runtime.removeOrphans();
    expect(await containersOf(workerId)).toHaveLength(1);
    listener.kill('SIGKILL');
    await listener.catch(() => undefined);
    await bench.open.runtime.removeOrphans();
    expect(await containersOf(workerId)).toEqual([]);
    expect(existsSync(path)).toBe(false);
  });

  test('of another boot goes only where it does not run, and has not just been made', async () => {
    const workerId = `other-boot-${randomUUID()}`;
    const labels = { ...(await labelsFor(workerId, 'i', 'a/a@1')), [LABELS.boot]: 'another' };
    const container = await engine.createContainer({ Image: IMAGES.busybox, Cmd: ['sleep', '1000'], Labels: labels });
    onTestFinished(() => removeContainer(engine, container.id));
    await bench.open.runtime.removeOrphans();
    await container.start();
    await bench.open.runtime.removeOrphans();
    expect(await containersOf(workerId)).toHaveLength(1);
  });

  test('is nothing where its runtime was closed', async () => {
    const workerId = `closed-${randomUUID()}`;
    const closing = await Bench.of(await dockerUnderTest({ workerId }));
    await closing.start({ entry: 'echo.mjs' });
    const call = closing.start({ command: ['sleep', '1000'] }).then((instance) => instance.call({}).catch(() => null));
    await waitFor(async () => (await containersOf(workerId)).length === 2, { what: 'both containers' });
    await closing.open.close();
    await call;
    expect(await containersOf(workerId)).toEqual([]);
    expect(readdirSync(socketDirsIn(staging)).filter((name) => name.includes(workerId))).toEqual([]);
  });

  test('is said by labels: whose it is, and of which boot', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    const listed = await engine.listContainers({
      filters: { label: [`${LABELS.instance}=${instance.instance.instanceId}`] },
    });
    expect(listed[0]?.Labels).toMatchObject({
      [LABELS.owner]: expect.stringMatching(/^\d+-\d+-\d+-k[0-9a-f]{8}-$/),
      [LABELS.boot]: expect.stringMatching(/^[0-9a-f-]{36}$/),
      [LABELS.artifact]: 'default/test@1',
    });
    await instance.stop(0);
  });
});
