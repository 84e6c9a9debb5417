import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { envelopeText, settledText } from './envelope.ts';
import type { TaskPage } from './task-list.ts';

/** A page ends with the task that brings it over this, in UTF-16 units of JSON. */
const FULL_LENGTH = 8 * 1_048_576;

/** A page of tasks with their results, as JSON text; it ends early, and says where, when it has become large. */
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
