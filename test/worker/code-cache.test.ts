import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { ARCHIVE_LIMITS } from '@pilum/core/archives/archive-limits.ts';
import { judgeArchive } from '@pilum/core/archives/archive-process.ts';
import { pino } from 'pino';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodeCache, type CodeSource } from '../../apps/worker/src/code/code-cache.ts';
import { CodeSlot, readCodeTree } from '../../apps/worker/src/runtimes/process/prewarm/code-slot.ts';
import { tarBytes, tarMember } from '../support/tar-bytes.ts';
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
    async *read({ digest }) {
      this.reads++;
      const blob = byDigest.get(digest) ?? Buffer.alloc(0);
      for (let at = 0; at < blob.length; at += 1000) yield blob.subarray(at, at + 1000);
    },
  };
}

async function cacheOf(
  source: CodeSource,
  limitBytes = 1e6,
  isolation: 'sandbox' | 'none' = 'none',
): Promise<CodeCache> {
  const cache = new CodeCache({ directory, limitBytes, source, isolation, logger: pino({ level: 'silent' }) });
  await cache.open();
  return cache;
}

/** What is no code goes in the background. */
const becomesEmpty = () =>
  waitFor(async () => (await readdir(directory)).length === 0, { what: 'the directory to be empty' });

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
    await becomesEmpty();
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
    ['leaves its directory', [{ name: '../evil', content: 'x' }], /evil lies outside/],
    ['is absolute', [{ name: '/etc/evil', content: 'x' }], /lies outside/],
    ['links out', [{ name: 'l', type: 'symlink', linkname: '../../etc' }], /l is a link that leads out/],
    ['holds a device', [{ name: 'd', type: 'character-device' }], /d is a character device/],
    ['is too large', [{ name: 'big', content: 'x'.repeat(2_000_000) }], /more than/],
  ])('refuses an archive that %s', async (_what, entries, message) => {
    const blob = await tarOf(entries);
    const cache = await cacheOf(sourceOf(blob));
    const holding = cache.hold('default', tarCode(blob));
    await expect(holding).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    await expect(holding).rejects.toThrow(message);
    await becomesEmpty();
  });

  it.each(['sandbox', 'none'] as const)(
    'makes nothing of an archive that is refused at its end (%s)',
    async (isolation) => {
      const outside = join(directory, 'outside');
      const up = '../'.repeat(7);
      const blob = tarBytes(
        { name: 'first.mjs', content: 'x' },
        { name: 'a/b/c/d/e/f/g/l', type: '2', target: up.slice(0, -1) },
        { name: 'a/b/c/d/e/f/g/l/esc', type: '2', target: `../../../../..${outside}` },
        { name: 'esc/made/file', content: 'x' },
      );
      const cache = await cacheOf(sourceOf(blob), 1e6, isolation);
      await expect(cache.hold('default', tarCode(blob))).rejects.toThrow(/g\/l\/esc lies behind a link of the archive/);
      await becomesEmpty();
      await cache.close();
    },
  );

  it.each(['sandbox', 'none'] as const)('unpacks what real archives hold (%s)', async (isolation) => {
    const large = 'x'.repeat(70_000);
    const blob = gzipSync(
      tarBytes(
        { name: 'store/a.mjs', content: 'old' },
        { name: 'hard.mjs', type: '1', target: 'store/a.mjs' },
        { name: './store/a.mjs', content: large },
        { name: 'link', content: 'a file before it was a link' },
        { name: 'link', type: '2', target: 'store' },
        { name: 'tool', type: '2', target: 'store' },
        { name: 'tool', content: 'a link before it was a file', mode: 0o700 },
        { name: 'empty/', type: '5' },
      ),
    );
    const cache = await cacheOf(sourceOf(blob), 1e6, isolation);
    const { directory: code, verify } = await cache.hold('default', tarCode(blob));
    expect(await readFile(join(code, 'hard.mjs'), 'utf8')).toBe('old');
    expect(await readFile(join(code, 'link/a.mjs'), 'utf8')).toBe(large);
    expect(await readFile(join(code, 'tool'), 'utf8')).toBe('a link before it was a file');
    expect((await stat(join(code, 'tool'))).mode & 0o777).toBe(0o755);
    expect((await stat(join(code, 'empty'))).mode & 0o777).toBe(0o755);
    await verify();
    await cache.close();
  });

  it('can be read by others whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      const text = Buffer.from('x = 1');
      const archive = tarBytes({ name: 'lib/deep/a.py', content: 'x' }, { name: 'b.py', content: 'x', mode: 0o600 });
      const cache = await cacheOf(sourceOf(text, archive));
      const file = await cache.hold('default', fileCode(text, 'lib/deep/main.py'));
      const unpacked = await cache.hold('default', tarCode(archive));
      const slot = await CodeSlot.make(directory);
      await slot.fill(unpacked.directory, (await readCodeTree(unpacked.directory)) ?? []);
      const paths = [
        ...[file.directory, unpacked.directory, slot.directory].flatMap((code) => [code, join(code, 'lib/deep')]),
        join(file.directory, 'lib/deep/main.py'),
        ...[unpacked.directory, slot.directory].flatMap((code) => [join(code, 'lib/deep/a.py'), join(code, 'b.py')]),
      ];
      const modes = await Promise.all(paths.map(async (path) => (await stat(path)).mode & 0o777));
      expect(modes).toEqual([0o755, 0o755, 0o755, 0o755, 0o755, 0o755, 0o755, 0o644, 0o644, 0o644, 0o644]);
    } finally {
      process.umask(before);
    }
  });

  it('kills what takes too long to unpack, and says so', async () => {
    async function* endless() {
      yield tarMember({ name: 'large', sizeBytes: 2 ** 29 });
      for (;;) {
        await nextTurn();
        yield Buffer.alloc(512);
      }
    }
    const judging = judgeArchive({ order: { format: 'tar', limits: ARCHIVE_LIMITS }, archive: endless(), limitMs: 50 });
    await expect(judging).rejects.toThrow('it takes more than 0.05 s to unpack');
  });

  it('removes what is very deep, in the background', async () => {
    const path = join(directory, 'tmp-left');
    execFileSync('python3', [
      '-c',
      'import os, sys; os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")',
      path,
    ]);
    await cacheOf(sourceOf());
    await becomesEmpty();
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
