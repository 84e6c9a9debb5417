import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodeCache, type CodeSource } from '../../apps/worker/src/code/code-cache.ts';
import { waitFor } from '../support/wait-for.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pilum-code-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A store that counts how often it is read. */
function sourceOf(...blobs: Buffer[]): CodeSource & { reads: number } {
  const byDigest = new Map(blobs.map((blob) => [digestOf(blob), blob]));
  return {
    reads: 0,
    async *read(_namespace, digest) {
      this.reads++;
      const blob = byDigest.get(digest) ?? Buffer.alloc(0);
      for (let at = 0; at < blob.length; at += 1000) yield blob.subarray(at, at + 1000);
    },
  };
}

async function cacheOf(source: CodeSource, limitBytes = 1e6): Promise<CodeCache> {
  const cache = new CodeCache({ directory, limitBytes, source, logger: pino({ level: 'silent' }) });
  await cache.open();
  return cache;
}

const fileCode = (blob: Buffer, fileName = 'index.mjs') => ({
  digest: digestOf(blob),
  format: 'file' as const,
  sizeBytes: blob.length,
  fileName,
});
const tarCode = (blob: Buffer) => ({ digest: digestOf(blob), format: 'tar' as const, sizeBytes: blob.length });

type Entry = {
  name: string;
  type?: 'file' | 'symlink' | 'character-device';
  linkname?: string;
  content?: string;
  mode?: number;
};
async function tarOf(entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = '', ...header } of entries) archive.entry(header, content);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('two workers that share the directory', () => {
  it('leave each other’s code where it is', async () => {
    const blob = Buffer.from('export default () => 1');
    const [ours, theirs] = [sourceOf(blob), sourceOf(blob)];
    const [first, second] = [await cacheOf(ours), await cacheOf(theirs)];
    const held = await first.hold('default', fileCode(blob));
    const { ino } = await stat(held.directory);
    await (await second.hold('default', fileCode(blob))).verify();
    await held.verify();
    expect((await stat(held.directory)).ino).toBe(ino);
    expect([ours.reads, theirs.reads]).toEqual([1, 0]);
  });
});

describe('the code cache', () => {
  it('fetches code once, also for many at once, and hands it to a later process', async () => {
    const blob = Buffer.from('export default () => 1');
    const source = sourceOf(blob);
    const cache = await cacheOf(source);
    const held = await Promise.all([1, 2, 3].map(() => cache.hold('default', fileCode(blob))));
    expect(await readFile(join(held[0]?.directory ?? '', 'index.mjs'), 'utf8')).toBe(blob.toString());
    await (await cacheOf(source)).hold('default', fileCode(blob));
    expect(source.reads).toBe(1);
  });

  it('lays the same bytes out under another name beside it', async () => {
    const blob = Buffer.from('x = 1');
    const cache = await cacheOf(sourceOf(blob));
    const one = await cache.hold('default', fileCode(blob, 'main.py'));
    const two = await cache.hold('default', fileCode(blob, 'lib/other.py'));
    expect(await readdir(one.directory)).toEqual(['main.py']);
    expect(await readFile(join(two.directory, 'lib/other.py'), 'utf8')).toBe('x = 1');
  });

  it('fetches a corrupted entry again, found by content in a new process and by its times in the same', async () => {
    const blob = Buffer.from('export default () => 1');
    const source = sourceOf(blob);
    const held = await (await cacheOf(source)).hold('default', fileCode(blob));
    const file = join(held.directory, 'index.mjs');
    const { mtime } = await stat(file);
    await writeFile(file, 'export default () => 2');
    const { utimes } = await import('node:fs/promises');
    await utimes(file, mtime, mtime); // only its content tells
    const again = await (await cacheOf(source)).hold('default', fileCode(blob));
    expect(await readFile(file, 'utf8')).toBe(blob.toString());
    expect(source.reads).toBe(2);
    await writeFile(file, 'oops');
    await again.verify();
    expect(await readFile(file, 'utf8')).toBe(blob.toString());
    await writeFile(join(held.directory, 'extra.mjs'), 'planted');
    await again.verify();
    expect(await readdir(held.directory)).toEqual(['index.mjs']);
    expect(source.reads).toBe(4);
  });

  it('says CHECKSUM_MISMATCH where the store holds other bytes, and keeps nothing of them', async () => {
    const blob = Buffer.from('export default () => 1');
    const source: CodeSource = {
      async *read() {
        yield Buffer.from('something else');
      },
    };
    const cache = await cacheOf(source);
    await expect(cache.hold('default', fileCode(blob))).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH' });
    expect(await readdir(directory)).toEqual([]);
  });

  it('removes what was used longest ago when it is over its size, but never what is held', async () => {
    const blobs = ['a', 'b', 'c'].map((letter) => Buffer.alloc(400, letter));
    const cache = await cacheOf(sourceOf(...blobs), 1000);
    const [a, b] = [await cache.hold('default', fileCode(blobs[0]!)), await cache.hold('default', fileCode(blobs[1]!))];
    b.release();
    await cache.hold('default', fileCode(blobs[2]!));
    await waitFor(async () => (await stat(b.directory).catch(() => null)) === null, { what: 'the code to be removed' });
    expect(await readdir(a.directory)).toEqual(['index.mjs']);
    expect(cache.sizeBytes).toBe(800);
  });

  it('unpacks an archive, plain or gzipped, with its links and programs', async () => {
    const tar = await tarOf([
      { name: 'package/index.mjs', content: 'export default 1' },
      { name: 'run.sh', content: '#!/bin/sh', mode: 0o755 },
      { name: 'bin/run', type: 'symlink', linkname: '../run.sh' },
    ]);
    for (const blob of [tar, gzipSync(tar)]) {
      const { directory: code } = await (await cacheOf(sourceOf(blob))).hold('default', tarCode(blob));
      expect(await readFile(join(code, 'package/index.mjs'), 'utf8')).toBe('export default 1');
      expect((await stat(join(code, 'bin/run'))).mode & 0o777).toBe(0o755);
      expect((await stat(join(code, 'package/index.mjs'))).mode & 0o777).toBe(0o644);
    }
  });

  it.each<[string, Entry[], RegExp]>([
    ['leaves its directory', [{ name: '../evil', content: 'x' }], /lies outside/],
    ['is absolute', [{ name: '/etc/evil', content: 'x' }], /lies outside/],
    ['links out', [{ name: 'l', type: 'symlink', linkname: '../../etc' }], /leads out/],
    ['holds a device', [{ name: 'd', type: 'character-device' }], /character-device/],
    ['is too large', [{ name: 'big', content: 'x'.repeat(2_000_000) }], /more than/],
  ])('refuses an archive that %s', async (_what, entries, message) => {
    const blob = await tarOf(entries);
    const cache = await cacheOf(sourceOf(blob));
    const holding = cache.hold('default', tarCode(blob));
    await expect(holding).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    await expect(holding).rejects.toThrow(message);
    expect(await readdir(directory)).toEqual([]);
  });

  it('refuses bytes that are no archive', async () => {
    for (const blob of [Buffer.from('hello '.repeat(200)), gzipSync(Buffer.from('x')).subarray(0, 12)]) {
      const cache = await cacheOf(sourceOf(blob));
      await expect(cache.hold('default', tarCode(blob))).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    }
  });

  it('writes no file outside of the code, whatever it is called', async () => {
    const blob = Buffer.from('x');
    for (const fileName of ['../out', 'a/../../out', 'x\n/../../out', '/tmp/out', 'a\0b']) {
      const cache = await cacheOf(sourceOf(blob));
      const holding = cache.hold('default', fileCode(blob, fileName));
      await expect(holding).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    }
    expect(await readdir(directory)).toEqual([]);
  });

  it('clears away what a killed process left half-made', async () => {
    await writeFile(join(directory, 'tmp-left'), 'x');
    await symlink('/nowhere', join(directory, 'tmp-link'));
    await cacheOf(sourceOf());
    expect(await readdir(directory)).toEqual([]);
  });
});
