import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { readRecord } from '@pilum/core/schemas/check.ts';
import { type ChunkKind, FRAME_KINDS, type Frame } from '@pilum/core/schemas/frame.ts';
import { HttpHead, headerOf } from '@pilum/core/schemas/http-head.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { OutputReader } from '../streams/output-reader.ts';
import type { PaceReport } from '../streams/pace-report.ts';

export interface AnswerWriting {
  readonly reader: OutputReader;
  readonly pace: PaceReport;
  readonly isHead: boolean;
  /** Returns the headers for the client: name, value, name, value …; `sizeBytes` is null for a body in pieces. */
  readonly headersOf: (head: HttpHead, sizeBytes: number | null) => string[];
  /** Returns the body of an answer that is stored whole; null if it is no longer kept. */
  readonly result: (outcome: Outcome) => Promise<Buffer | null>;
  /** Writes the answer of a task that failed before its function answered. */
  readonly fail: (outcome: Outcome) => void;
  readonly signal: AbortSignal;
}

const LINE_FEED = Buffer.from('\n');

/** Content types for a function that names none. */
const TYPES: Readonly<Record<ChunkKind, string>> = {
  [FRAME_KINDS.json]: 'application/x-ndjson',
  [FRAME_KINDS.text]: 'text/plain; charset=utf-8',
  [FRAME_KINDS.bytes]: 'application/octet-stream',
};

/**
 * Writes the answer of a function as a web endpoint, at the client's pace. A failure after the head cuts the connection, so that no
 * client takes a part for the whole.
 */
export async function writeAnswer(response: ServerResponse, writing: AnswerWriting): Promise<void> {
  const { reader, pace, isHead, signal } = writing;
  /** Bytes still missing of the content-length in the head; null if the head names none. */
  let due: number | null = null;
  const begin = (head: HttpHead, sizeBytes: number | null) => {
    response.writeHead(head.status, writing.headersOf(head, sizeBytes));
    const length = headerOf(head, 'content-length');
    if (sizeBytes === null && length !== undefined && !isHead && head.status !== 204 && head.status !== 304) {
      due = Number(length);
    }
  };
  const write = async (bytes: Buffer): Promise<void> => {
    if (due !== null) due -= bytes.length;
    // The client would read surplus bytes as the next answer.
    if (due !== null && due < 0) throw new Error('the function has answered with more than its content-length');
    if (bytes.length === 0 || response.write(bytes) || response.destroyed) return;
    await once(response, 'drain', { signal }).catch(() => undefined); // aborted: it is over
  };
  let isWhole = false;
  for await (const item of reader.items(signal)) {
    if (item.kind === 'frames') {
      const bytes = bodyOf(item.run.frames, (head) => {
        if (!response.headersSent) begin(head, null);
      });
      // The client gets the head at once, before the function sends more.
      if (bytes.length === 0 && response.headersSent) response.flushHeaders();
      await write(bytes);
      pace.taken(item.run.bytes);
    } else if (item.kind === 'end') isWhole = await end(item.outcome);
  }
  if (!isWhole) response.destroy();
  else if (!response.destroyed) response.end();

  async function end(outcome: Outcome): Promise<boolean> {
    if (outcome.status !== 'completed') {
      if (response.headersSent) return false;
      writing.fail(outcome);
      return true;
    }
    if (!response.headersSent) {
      const { result } = outcome;
      const kept = await writing.result(outcome);
      if (result !== undefined && kept === null) return false; // let go in this moment
      const body = kept ?? Buffer.alloc(0);
      const contentType = result?.contentType ?? TYPES[FRAME_KINDS.bytes];
      begin(result?.head ?? { status: 200, headers: [['content-type', contentType]] }, body.length);
      await write(body);
    }
    return due === null || due === 0;
  }
}

/** Returns the bytes of frames as a body; JSON chunks become lines. */
function bodyOf(frames: readonly Frame[], begin: (head: HttpHead) => void): Buffer {
  const parts: Buffer[] = [];
  for (const { kind, payload } of frames) {
    if (kind === FRAME_KINDS.head) begin(headOf(payload));
    else if (kind <= FRAME_KINDS.bytes) {
      begin({ status: 200, headers: [['content-type', TYPES[kind as ChunkKind]]] });
      parts.push(payload);
      if (kind === FRAME_KINDS.json) parts.push(LINE_FEED);
    }
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

function headOf(payload: Buffer): HttpHead {
  const head = readRecord(HttpHead, JSON.parse(payload.toString('utf8')));
  if (head === null) throw new Error('the head of the answer is in a form of a newer release');
  return head;
}
