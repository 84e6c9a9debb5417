import { decodeTime, encodeTime, monotonicFactory } from 'ulid';
import { ulidOf } from './keys.ts';

const nextUlid = monotonicFactory();

/** A new task id. Ids that one process makes are in the order in which it made them, also within a millisecond. */
export function newTaskId(artifactId: string): string {
  return `${artifactId}.${nextUlid()}`;
}

/** When a task was accepted, ms since 1970. */
export function acceptedAtOf(taskId: string): number {
  return decodeTime(ulidOf(taskId));
}

/** The least ULID of a moment: every task accepted before it has a lesser one. */
export function firstUlidAt(ms: number): string {
  return encodeTime(ms, 10) + '0'.repeat(16);
}
