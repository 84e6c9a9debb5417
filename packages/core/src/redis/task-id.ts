import { randomFillSync } from 'node:crypto';
import { decodeTime, encodeTime, monotonicFactory } from 'ulid';
import { ulidOf } from './keys.ts';
import { sharedNow } from './shared-time.ts';

/** Random bytes, fetched many at a time: an id takes sixteen, and each fetch of its own costs as much as a thousand. */
const bytes = new Uint8Array(4096);
let used = bytes.length;

function random(): number {
  if (used === bytes.length) {
    randomFillSync(bytes);
    used = 0;
  }
  return (bytes[used++] ?? 0) / 256;
}

const nextUlid = monotonicFactory(random);

/** A new task id. Ids that one process makes are in the order in which it made them, also within a millisecond. */
export function newTaskId(artifactId: string): string {
  return `${artifactId}.${nextUlid(sharedNow())}`;
}

/** Time at which a task was accepted, ms since 1970. */
export function acceptedAtOf(taskId: string): number {
  return decodeTime(ulidOf(taskId));
}

/** The least ULID of a moment: every task accepted before it has a lesser one. */
export function firstUlidAt(ms: number): string {
  return encodeTime(ms, 10) + '0'.repeat(16);
}
