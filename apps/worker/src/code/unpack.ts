import { chmodSync, createWriteStream, writeFileSync } from 'node:fs';
import { chmod, mkdir, realpath, symlink } from 'node:fs/promises';
import { dirname, join, normalize, relative, resolve, sep } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { extract } from 'tar-stream';

/** What an archive may unpack to; code past either limit is refused. */
export interface UnpackLimits {
  readonly bytes: number;
  readonly entries: number;
}

/** Up to here a file is written at once: a stream costs ten times as much as writing it does. */
const SMALL_BYTES = 64 * 1024;

function refuse(what: string): InstanceError {
  return new InstanceError('INSTANCE_START_FAILED', { message: `The code's tar archive cannot be unpacked: ${what}.` });
}

/**
 * Unpacks a tar archive, plain or gzipped, into a directory that is there and empty. Nothing is written outside of it:
 * absolute paths, `..`, links that lead out, and devices are refused.
 * @throws InstanceError `INSTANCE_START_FAILED` that says what is wrong with the archive
 */
export async function unpackTar(archive: Readable, directory: string, limits: UnpackLimits): Promise<void> {
  const root = await realpath(directory);
  let bytes = 0;
  let entries = 0;
  // What was looked at stays what it is: nothing in an archive takes the place of what it has brought before.
  const inner = new Set([root]);
  const extractor = extract();
  const source = await gunzipped(archive);
  const fed = pipeline(source, extractor);
  // Whoever reads the entries hears of a broken archive; this one must not go unheard until then.
  fed.catch(() => undefined);
  try {
    for await (const entry of extractor) {
      const { name, type, linkname, size = 0, mode = 0o644 } = entry.header;
      entries++;
      bytes += size;
      if (entries > limits.entries) throw refuse(`it has more than ${limits.entries} entries`);
      if (bytes > limits.bytes) throw refuse(`it unpacks to more than ${Math.floor(limits.bytes / 1_048_576)} MiB`);
      const path = inside(root, name);
      if (path === root) {
        entry.resume();
        continue;
      }
      if (!inner.has(dirname(path))) {
        await mkdir(dirname(path), { recursive: true, mode: 0o755 });
        if (!(await staysInside(root, dirname(path)))) throw refuse(`${name} lies behind a link that leads out`);
        inner.add(dirname(path));
      }
      if (type === 'directory') {
        await mkdir(path, { recursive: true, mode: 0o755 });
        entry.resume();
      } else if (type === 'file' || type === 'contiguous-file') {
        // Read for everyone, and executable where it was: the sandbox runs as another user.
        const readable = mode & 0o111 ? 0o755 : 0o644;
        if (size <= SMALL_BYTES) {
          writeFileSync(path, await buffer(entry), { flag: 'wx' });
          chmodSync(path, readable);
        } else {
          await pipeline(entry, createWriteStream(path, { flags: 'wx', mode: 0o644 }));
          await chmod(path, readable);
        }
      } else if (type === 'symlink') {
        const target = resolve(dirname(path), linkname ?? '');
        if (target !== root && !target.startsWith(root + sep))
          throw refuse(`the link ${name} leads out of the archive`);
        await symlink(relative(dirname(path), target) || '.', path);
        entry.resume();
      } else {
        throw refuse(`${name} is a ${type}, which code cannot hold`);
      }
    }
    await fed;
  } catch (error) {
    if (error instanceof InstanceError) throw error;
    throw refuse(error instanceof Error ? error.message : String(error));
  } finally {
    archive.destroy();
  }
}

function inside(root: string, name: string): string {
  if (name.includes('\0')) throw refuse('a name holds a NUL');
  const path = join(root, normalize(name));
  if (name.startsWith('/') || (path !== root && !path.startsWith(root + sep))) {
    throw refuse(`${name} lies outside of the archive`);
  }
  return path.endsWith(sep) ? path.slice(0, -1) : path;
}

async function staysInside(root: string, directory: string): Promise<boolean> {
  const real = await realpath(directory);
  return real === root || real.startsWith(root + sep);
}

/** The stream itself, or what it holds where it begins as gzip does (RFC 1952, section 2.3.1). */
async function gunzipped(archive: Readable): Promise<Readable> {
  const iterator = archive[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await iterator.next();
  const whole = Readable.from(
    (async function* () {
      if (first.done) return;
      yield first.value;
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield next.value;
      }
    })(),
  );
  const isGzip = !first.done && first.value[0] === 0x1f && first.value[1] === 0x8b;
  if (!isGzip) return whole;
  const gunzip = createGunzip();
  pipeline(whole, gunzip).catch(() => undefined); // an error of either ends gunzip, whose reader hears it
  return gunzip;
}
