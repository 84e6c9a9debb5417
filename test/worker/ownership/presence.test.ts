import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { CodeCache } from '../../../apps/worker/src/code/code-cache.ts';
import { labelOf, readOwner } from '../../../apps/worker/src/ownership/owner.ts';
import { Presence } from '../../../apps/worker/src/ownership/presence.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

const logger = pino({ level: 'silent' });
const TIMES = { showEveryMs: 10, goneAfterMs: 400 };

/** A worker in another container, by all that can be seen of it. */
const strangerLabel = async (number: number) => labelOf({ ...(await readOwner()), pidNamespace: String(number) });

async function present(directory: string): Promise<Presence> {
  const presence = new Presence(directory, logger, TIMES);
  await presence.open();
  onTestFinished(() => presence.close());
  return presence;
}

/** Shows a worker as it does itself, until it is told to die. */
async function startStranger(directory: string, label: string): Promise<() => void> {
  const file = join(directory, 'workers', label);
  await writeFile(file, '');
  const timer = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => undefined), TIMES.showEveryMs);
  onTestFinished(() => clearInterval(timer));
  return () => clearInterval(timer);
}

test('a worker in another container is gone when it has not shown itself for long, and not while it does', async () => {
  const directory = temporaryDirectory();
  const presence = await present(directory);
  const [dying, living] = [await strangerLabel(1), await strangerLabel(2)];
  const die = await startStranger(directory, dying);
  await startStranger(directory, living);
  die();
  await waitFor(() => presence.isGone(dying), { what: 'the end of the one' });
  expect(presence.isGone(living)).toBe(false);
  // Its own file goes later, when nobody needs it any more.
  await waitFor(async () => !(await readdir(join(directory, 'workers'))).includes(dying), { what: 'its file to go' });
  expect(presence.isGone(living)).toBe(false);
});

test('a clock that is set back or ahead makes nobody gone', async () => {
  const directory = temporaryDirectory();
  const presence = await present(directory);
  const label = await strangerLabel(3);
  const file = join(directory, 'workers', label);
  await writeFile(file, '');
  for (const year of [1990, 2090, 1991]) {
    const then = new Date(Date.UTC(year));
    await utimes(file, then, then);
    expect(presence.isGone(label)).toBe(false);
  }
});

test('of a worker that has never shown itself nothing is known', async () => {
  const presence = await present(temporaryDirectory());
  expect(presence.isGone(await strangerLabel(4))).toBe(false);
});

test('a worker that closes is there no more', async () => {
  const directory = temporaryDirectory();
  const presence = new Presence(directory, logger, TIMES);
  await presence.open();
  expect(await readdir(join(directory, 'workers'))).toEqual([labelOf(await readOwner())]);
  await presence.close();
  await presence.close();
  expect(await readdir(join(directory, 'workers'))).toEqual([]);
});

test('what a worker in another container was making is removed when that is gone, and not before', async () => {
  const directory = temporaryDirectory();
  const presence = await present(directory);
  const label = await strangerLabel(5);
  const die = await startStranger(directory, label);
  const code = join(directory, 'code');
  const source = { read: () => (async function* () {})() };
  const cache = new CodeCache({ directory: code, limitBytes: 1, source, presence, logger });
  await mkdir(join(code, `tmp-${label}-1`), { recursive: true });
  await cache.open();
  await cache.removeOrphans();
  expect(await readdir(code)).toEqual([`tmp-${label}-1`]);
  die();
  await waitFor(() => presence.isGone(label), { what: 'its end' });
  await cache.removeOrphans();
  expect(await readdir(code)).toEqual([]);
});
