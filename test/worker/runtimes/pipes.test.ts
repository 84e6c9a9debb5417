import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { Pipes } from '../../../apps/worker/src/runtimes/sandbox/pipes.ts';

const openPipes = () =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      return false;
    }
  }).length;

test('a pipe ends where its writer has gone, also for whoever opens it by name after that', async () => {
  const pipes = new Pipes();
  const { stream, theirs } = await pipes.toProcess();
  stream.end('hello');
  await new Promise((resolve) => stream.once('close', resolve));
  const late = openSync(`/proc/self/fd/${theirs}`, 'r');
  expect(readFileSync(late, 'utf8')).toBe('hello');
  closeSync(late);
  closeSync(theirs);
  await pipes.close();
});

test('what is written to a pipe by its name comes out', async () => {
  const pipes = new Pipes();
  const { stream, theirs } = await pipes.fromProcess();
  writeFileSync(`/proc/self/fd/${theirs}`, 'by its name');
  closeSync(theirs);
  expect(await text(stream)).toBe('by its name');
  await pipes.close();
});

test('many at once are all different, and nothing stays open', async () => {
  const before = openPipes();
  const pipes = new Pipes();
  const made = await Promise.all(Array.from({ length: 50 }, () => pipes.fromProcess()));
  expect(new Set(made.map(({ theirs }) => readlinkSync(`/proc/self/fd/${theirs}`))).size).toBe(50);
  await Promise.all(
    made.map(({ stream, theirs }) => {
      closeSync(theirs);
      const closed = new Promise((resolve) => stream.once('close', resolve));
      stream.destroy();
      return closed;
    }),
  );
  await pipes.close();
  expect(openPipes()).toBe(before);
});
