import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CodeCache } from '../../apps/worker/src/code/code-cache.ts';
import { type FileCaches, holdFiles } from '../../apps/worker/src/code/pinned-files.ts';
import { fill } from '../conformance/snapshots.ts';
import { waitFor } from '../support/wait-for.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pilum-files-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const located = (text: string, fileName: string) => ({
  digest: digestOf(text),
  format: 'file' as const,
  sizeBytes: text.length,
  fileName,
});

/** Caches for no more than a few bytes, that can have these texts. */
async function cachesWith(...texts: string[]): Promise<FileCaches> {
  const byDigest = new Map(texts.map((text) => [digestOf(text), text]));
  const source = {
    async *read({ digest }: { digest: string }) {
      yield Buffer.from(byDigest.get(digest) ?? 'something else');
    },
  };
  const logger = pino({ level: 'silent' });
  const cacheIn = async (name: string) => {
    const cache = new CodeCache({ directory: join(directory, name), limitBytes: 10, source, logger });
    await cache.open();
    return cache;
  };
  return { codeCache: await cacheIn('code'), layerCache: await cacheIn('layers') };
}

const versionWith = (code: string | null, ...layers: string[]): Version => ({
  ...fill({ runtime: 'process' }),
  code: code === null ? null : located(code, 'index.mjs'),
  layers: layers.map((text, index) => ({
    artifactId: `layer-${index}`,
    version: 1,
    code: located(text, `${index}.txt`),
  })),
});

it('code and layers of a version are on disk, in its order, and each layer is there once for all versions', async () => {
  const caches = await cachesWith('the code', 'layer one', 'layer two');
  const [one, two] = await Promise.all([
    holdFiles(caches, 'a', versionWith('the code', 'layer one', 'layer two')),
    holdFiles(caches, 'a', versionWith(null, 'layer one')),
  ]);
  expect(readFileSync(join(one.codeDirectory ?? '', 'index.mjs'), 'utf8')).toBe('the code');
  expect(one.layers.map(({ id }) => id)).toEqual(['layer-0', 'layer-1']);
  expect(readFileSync(join(one.layers[1]?.directory ?? '', '1.txt'), 'utf8')).toBe('layer two');
  expect(two.codeDirectory).toBeNull();
  expect(two.layers).toEqual([one.layers[0]]);
  expect(caches.layerCache.sizeBytes).toBe('layer onelayer two'.length);
});

it('a layer stays for as long as a version holds it, and goes when room is wanted', async () => {
  const caches = await cachesWith('layer one', 'layer two');
  const held = await holdFiles(caches, 'a', versionWith(null, 'layer one'));
  const again = await holdFiles(caches, 'a', versionWith(null, 'layer one'));
  const other = await holdFiles(caches, 'a', versionWith(null, 'layer two'));
  const there = () => existsSync(held.layers[0]?.directory ?? '');
  held.release();
  held.release();
  await held.verify();
  expect(there()).toBe(true);
  again.release();
  await waitFor(() => !there(), { what: 'its removal' });
  expect(existsSync(other.layers[0]?.directory ?? '')).toBe(true);
});

it('where one of them cannot be had, none is held', async () => {
  const caches = await cachesWith('the code', 'layer one');
  const failing = holdFiles(caches, 'a', versionWith('the code', 'layer one', 'of which there are other bytes'));
  await expect(failing).rejects.toMatchObject({
    code: 'CHECKSUM_MISMATCH',
    message: expect.stringContaining('Layer layer-1@1: '),
  });
  const { layers, release } = await holdFiles(caches, 'a', versionWith(null, 'layer one'));
  release();
  const next = await holdFiles(await cachesWith('layer two'), 'a', versionWith(null, 'layer two'));
  next.release();
  expect(layers).toHaveLength(1);
});
