import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { CodeCache } from '../../../apps/worker/src/code/code-cache.ts';
import {
  isDead,
  labelOf,
  namesOfTheDead,
  type Owner,
  ownerIn,
  readOwner,
} from '../../../apps/worker/src/ownership/owner.ts';
import { identify } from '../../../apps/worker/src/ownership/process-identity.ts';
import { removeUnfinished } from '../../../apps/worker/src/runtimes/contract/staged-files.ts';
import { removeAbandoned } from '../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { launch } from '../../support/launch.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

/** A process that is there, as an owner. */
async function startOwner(): Promise<{
  owner: Owner;
  signal: (name: NodeJS.Signals) => void;
  ended: Promise<unknown>;
}> {
  const child = launch('sleep', ['1000']);
  onTestFinished(() => void child.kill('SIGKILL'));
  const identity = await identify(child.pid ?? 0);
  const { pidNamespace, kernel } = await readOwner();
  if (identity === null) throw new Error('it has not started');
  return {
    owner: { ...identity, pidNamespace, kernel },
    signal: (name) => child.kill(name),
    ended: once(child, 'exit'),
  };
}

/** Of a process that was never there. */
async function deadLabel(): Promise<string> {
  return labelOf({ ...(await readOwner()), startedAt: '1' });
}

describe('an owner', () => {
  test('is dead when its process has ended, and not while that runs or is stopped', async () => {
    const { owner, signal, ended } = await startOwner();
    expect(await isDead(owner)).toBe(false);
    signal('SIGSTOP');
    await waitFor(async () => (await isDead(owner)) === false);
    signal('SIGKILL');
    await ended;
    expect(await isDead(owner)).toBe(true);
  });

  test('is dead when another process has its pid', async () => {
    const { owner } = await startOwner();
    expect(await isDead({ ...owner, startedAt: '1' })).toBe(true);
  });

  test('of another pid namespace is left alone', async () => {
    expect(await isDead({ ...(await readOwner()), startedAt: '1', pidNamespace: '1' })).toBe(false);
  });

  test('under another kernel is left alone, whose first pid namespace has the same number', async () => {
    expect(await isDead({ ...(await readOwner()), startedAt: '1', kernel: '00000000' })).toBe(false);
  });

  test('in a label of an earlier release, without a kernel, is one of this kernel', async () => {
    const { pid, startedAt, pidNamespace } = await readOwner();
    const label = `${pid}-${startedAt}-${pidNamespace}`;
    expect(ownerIn(`${label}.worker.instance`)).toEqual({ pid, startedAt, pidNamespace, kernel: null });
    expect(await isDead({ pid, startedAt, pidNamespace, kernel: null })).toBe(false);
    expect(await isDead({ pid, startedAt: '1', pidNamespace, kernel: null })).toBe(true);
  });

  test('is found in a name that begins with its label', async () => {
    const owner = await readOwner();
    expect(ownerIn(`${labelOf(owner)}.worker.instance`)).toEqual(owner);
    expect(ownerIn(`${labelOf(owner)}-abc`)).toEqual(owner);
    expect(ownerIn('12-34.worker.instance')).toBeNull();
    expect(ownerIn('something')).toBeNull();
    const dead = `${await deadLabel()}.a`;
    expect(await namesOfTheDead([`${labelOf(owner)}.a`, dead, 'something'])).toEqual([dead]);
  });
});

test('what was staged for a data directory that is gone is removed, and not where that is out of sight', async () => {
  const cache = temporaryDirectory();
  const stage = async (name: string, files: Record<string, string>) => {
    await mkdir(join(cache, name));
    for (const [file, text] of Object.entries(files)) await writeFile(join(cache, name, file), text);
  };
  const { pidNamespace, kernel } = await readOwner();
  const gone = join(cache, 'gone');
  await stage('removed', { 'data-directory': gone, 'seen-from': `${pidNamespace}-${kernel}` });
  await stage('removed-too', { 'data-directory': gone }); // an earlier release's
  await stage('used', { 'data-directory': cache, 'seen-from': `${pidNamespace}-${kernel}` });
  await stage('of-a-container', { 'data-directory': gone, 'seen-from': `1-${kernel}` });
  await stage('of-another-machine', { 'data-directory': gone, 'seen-from': `${pidNamespace}-00000000` });
  await stage('not-ours', {});
  await removeAbandoned(cache);
  expect((await readdir(cache)).sort()).toEqual(['not-ours', 'of-a-container', 'of-another-machine', 'used']);
});

describe('what a dead worker was making', () => {
  test('goes from the staging directory, and what is a live one’s stays', async () => {
    const staging = temporaryDirectory();
    const bootstraps = join(staging, 'bootstrap-1');
    await mkdir(bootstraps);
    const [dead, live] = [`unfinished-${await deadLabel()}-1`, `unfinished-${labelOf(await readOwner())}-1`];
    for (const directory of [staging, bootstraps]) {
      for (const name of [dead, live, 'node.mjs']) await writeFile(join(directory, name), '');
    }
    await removeUnfinished(staging);
    expect((await readdir(staging)).sort()).toEqual(['bootstrap-1', 'node.mjs', live]);
    expect((await readdir(bootstraps)).sort()).toEqual(['node.mjs', live]);
  });

  test('goes from the code cache, and what is a live one’s stays', async () => {
    const directory = temporaryDirectory();
    const [dead, live] = [`tmp-${await deadLabel()}-1`, `tmp-${labelOf(await readOwner())}-1`];
    const source = { read: () => (async function* () {})() };
    const cache = new CodeCache({ directory, limitBytes: 1, source, logger: pino({ level: 'silent' }) });
    await mkdir(join(directory, live));
    await mkdir(join(directory, dead));
    await cache.open();
    expect(await readdir(directory)).toEqual([live]);
    await mkdir(join(directory, dead, 'code'), { recursive: true });
    await cache.removeOrphans();
    // What has something in it goes in the background.
    await waitFor(async () => (await readdir(directory)).length === 1, { what: 'the removal' });
    expect(await readdir(directory)).toEqual([live]);
  });
});
