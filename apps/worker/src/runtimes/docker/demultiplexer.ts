import { PassThrough, type Readable } from 'node:stream';
import { readGuarded } from '../contract/intake.ts';

/** Kind of output (1 stdout, 2 stderr), three bytes of nothing, and the length of what follows. */
const HEAD_BYTES = 8;
const STDERR = 2;

/**
 * Takes apart what the Engine sends of a container's stdout and stderr in one stream. The library's own way does not wait
 * for whoever reads slowly; here the stream is read no faster than both of its parts, so that a flood waits in the container.
 */
export function demultiplex(source: Readable): { stdout: Readable; stderr: Readable } {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const head = Buffer.alloc(HEAD_BYTES);
  let headFilled = 0;
  let left = 0;
  let target = stdout;

  const onChunk = (chunk: Buffer) => {
    let at = 0;
    while (at < chunk.length) {
      if (left === 0) {
        const step = Math.min(HEAD_BYTES - headFilled, chunk.length - at);
        chunk.copy(head, headFilled, at, at + step);
        headFilled += step;
        at += step;
        if (headFilled < HEAD_BYTES) return;
        headFilled = 0;
        target = head[0] === STDERR ? stderr : stdout;
        left = head.readUInt32BE(4);
      } else {
        const piece = chunk.subarray(at, at + left);
        at += piece.length;
        left -= piece.length;
        if (!target.write(piece)) waitFor(target);
      }
    }
  };
  const full = new Set<PassThrough>();
  const waitFor = (part: PassThrough) => {
    if (full.has(part)) return;
    full.add(part);
    source.pause();
    part.once('drain', () => {
      full.delete(part);
      if (full.size === 0) source.resume();
    });
  };
  const end = () => {
    stdout.end();
    stderr.end();
  };
  readGuarded(source, onChunk, (thrown) => source.destroy(thrown instanceof Error ? thrown : undefined));
  source.once('end', end);
  source.once('close', end);
  return { stdout, stderr };
}
