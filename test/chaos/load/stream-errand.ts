import { setTimeout as sleep } from 'node:timers/promises';
import type { Envelope } from '@pilum/core/schemas/task.ts';
import type { History } from '../history/history.ts';
import type { Caller } from './caller.ts';
import type { Plan } from './plan.ts';

/** Between two connections of a reader that was cut off, ms. */
const AGAIN_MS = 200;
/** A connection that is never answered, ms: longer than any stream of the load. */
const PATIENCE_MS = 120_000;

interface Line {
  readonly id: string;
  readonly event: string;
  readonly data: unknown;
}

/** What a reader of one stream has got. */
class Reading {
  taskId: string | null = null;
  connections = 0;
  frames = 0;
  /** Since the last restart. */
  chunks = 0;
  envelope: Envelope | null = null;
  fault: string | null = null;
  #execution: string | null = null;

  take({ id, event, data }: Line): void {
    if (event === 'end') {
      this.envelope = data as Envelope;
      return;
    }
    if (Number(id) !== this.frames + 1) this.fault ??= `frame ${id} came after frame ${this.frames}`;
    this.frames = Number(id);
    if (event === 'restart') {
      this.chunks = 0;
      this.#execution = null;
      return;
    }
    const { execution, i } = data as { execution: string; i: number };
    this.#execution ??= execution;
    if (execution !== this.#execution)
      this.fault ??= `frame ${id} is of another execution, and no restart came between`;
    if (i !== this.chunks + 1) this.fault ??= `chunk ${i} came after chunk ${this.chunks}`;
    this.chunks = i;
  }
}

/**
 * Starts a stream and reads it to its end, from where it was as often as it is cut off, at any API process. It is sent again
 * with its key until it is accepted.
 */
export async function runStreamErrand(
  plan: Plan,
  caller: Caller,
  history: History,
  signal: AbortSignal,
): Promise<void> {
  const { request, artifact, input, options, key } = plan;
  const reading = new Reading();
  const accept = { accept: 'application/x-ndjson' };
  while (reading.envelope === null && !signal.aborted) {
    const start = {
      method: 'POST',
      path: `/v1/artifacts/${artifact}/stream?${new URLSearchParams(options)}`,
      body: JSON.stringify(input),
      headers: { ...accept, 'idempotency-key': key ?? '' },
    };
    const resume = {
      method: 'GET',
      path: `/v1/tasks/${reading.taskId}/stream`,
      headers: { ...accept, ...(reading.frames === 0 ? {} : { 'last-event-id': String(reading.frames) }) },
    };
    // A stream that is joined by its key begins at the beginning: where something was read, its reader knows its task.
    const call = reading.taskId === null ? start : resume;
    const { http, headers } = await caller.client.lines({ ...call, giveUpAfterMs: PATIENCE_MS }, (line) => {
      if (line !== '') reading.take(JSON.parse(line) as Line);
    });
    if (http === 200) {
      reading.connections++;
      reading.taskId ??= String(headers.location).split('/').at(-1) ?? null;
    } else if (http !== null && http < 500) reading.fault ??= `it was answered ${http}`;
    if (reading.fault !== null) break;
    if (reading.envelope === null) await sleep(AGAIN_MS);
  }
  const { taskId, connections, frames, chunks, envelope, fault } = reading;
  if (taskId === null) return;
  history.write({
    type: 'stream',
    at: Date.now(),
    taskId,
    request,
    restart: options.restart === 'true',
    connections,
    frames,
    chunks,
    expected: input.chunks ?? 0,
    status: envelope?.status ?? null,
    fault,
  });
  if (envelope !== null) caller.saw(envelope);
}
