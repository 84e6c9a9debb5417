import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { envelopeText, settledText } from './envelope.ts';
import type { TaskPage } from './task-list.ts';

/** Size at which a page ends, in UTF-16 units of JSON. */
const FULL_LENGTH = 8 * 1_048_576;

/** Returns a page of tasks with their results as JSON text. A large page ends early, and its `next` says where. */
export async function pageText(store: TaskStore, { tasks, next }: TaskPage): Promise<string> {
  const texts: string[] = [];
  let length = 0;
  for (const { head, outcome } of tasks) {
    const text = outcome === null ? envelopeText(head, 'null') : await settledText(store, outcome, { attempts: true });
    texts.push(text);
    length += text.length;
    const isLast = texts.length === tasks.length;
    if (length >= FULL_LENGTH && !isLast) return pageOf(texts, head.taskId);
  }
  return pageOf(texts, next);
}

const pageOf = (tasks: readonly string[], next: string | null) =>
  `{"tasks":[${tasks.join(',')}],"next":${JSON.stringify(next)}}`;
