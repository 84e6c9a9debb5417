import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { OutputReader } from './output-reader.ts';
import type { PaceReport } from './pace-report.ts';
import type { StreamFormat } from './stream-format.ts';

/** Interval of heartbeats on a silent stream, ms. */
const HEARTBEAT_MS = 15_000;
/** Status for a result that is no longer kept. */
const GONE = 410;

export interface StreamWriting {
  readonly reader: OutputReader;
  readonly format: StreamFormat;
  /** Reports of the reader's progress; null for a reader that cannot slow the function down. */
  readonly pace: PaceReport | null;
  /** Writes the head of the answer. */
  readonly head: (status: number, contentType: string) => void;
  /** Returns the HTTP status for an outcome. */
  readonly statusOf: (outcome: Outcome) => number;
  /** Returns the envelope for an outcome, as JSON. */
  readonly envelope: (outcome: Outcome) => Promise<string>;
  /** Returns the result of a task that is not streamed, for a reader of bytes; null if it is no longer kept. */
  readonly result: (outcome: Outcome) => Promise<Buffer | null>;
  readonly signal: AbortSignal;
}

/**
 * Writes the output of a task at the client's pace, until the task ends, the signal is aborted or the connection closes. A raw format
 * cannot express a failure: before the first byte the answer is an error, and later the connection is cut, so that no client takes a
 * part for the whole.
 */
export async function writeStream(response: ServerResponse, writing: StreamWriting): Promise<void> {
  const { reader, format, pace, signal } = writing;
  const write = async (data: string | Buffer): Promise<void> => {
    if (data.length === 0 || response.write(data) || response.destroyed) return;
    await once(response, 'drain', { signal }).catch(() => undefined); // aborted: it is over
  };
  const begin = () => {
    if (!response.headersSent) writing.head(200, format.contentType);
  };
  if (!format.isRaw) {
    begin();
    response.write(format.opening);
  }
  const heartbeat = setInterval(() => {
    if (response.headersSent && !response.writableNeedDrain) response.write(format.heartbeat);
  }, HEARTBEAT_MS);
  let isWhole = !format.isRaw;
  try {
    for await (const item of reader.items(signal)) {
      const { position } = reader;
      if (item.kind === 'frames') {
        begin();
        await write(format.frames(item, position.line));
        pace?.taken(item.run.bytes);
      } else if (item.kind === 'lines') await write(format.lines(item, position.frame));
      else if (item.kind === 'truncated') await write(format.last('error', truncated(item.oldest), position));
      else if (format.isRaw) isWhole = await endRaw(item.outcome);
      else {
        const after = { frame: position.frame + 1, line: position.line + 1 };
        await write(format.last('end', await writing.envelope(item.outcome), after));
      }
    }
  } finally {
    clearInterval(heartbeat);
  }
  if (!isWhole) response.destroy();
  else if (!response.destroyed) response.end();

  async function endRaw(outcome: Outcome): Promise<boolean> {
    if (outcome.status === 'completed') {
      const body = outcome.mode === 'stream' || outcome.result === undefined ? '' : await writing.result(outcome);
      if (body === null) {
        // A result that is no longer kept must not look like an empty one.
        writing.head(GONE, 'application/json; charset=utf-8');
        await write(await writing.envelope(outcome));
        return true;
      }
      begin();
      await write(body);
      return true;
    }
    if (response.headersSent) return false;
    writing.head(writing.statusOf(outcome), 'application/json; charset=utf-8');
    await write(await writing.envelope(outcome));
    return true;
  }
}

function truncated(oldest: number | null): string {
  return JSON.stringify({
    code: 'STREAM_TRUNCATED',
    message: 'The next frames are no longer kept: this reader was too slow.',
    details: { oldestId: oldest },
  });
}
