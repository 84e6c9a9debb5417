import { isUtf8 } from 'node:buffer';
import { FRAME_KINDS, type Frame } from '@pilum/core/schemas/frame.ts';
import { droppedNotice } from '../tasks/log-lines.ts';
import type { OutputItem, Position, Wanted } from './output-reader.ts';

/** A format for streams. The bytes for one item go out in one write. */
export interface StreamFormat {
  readonly contentType: string;
  /** Whether the stream consists of the yielded bytes alone, without events. */
  readonly isRaw: boolean;
  /** Text at the beginning of a stream. */
  readonly opening: string;
  /** Text without meaning, which keeps proxies from closing an idle connection. */
  readonly heartbeat: string;
  frames(item: Extract<OutputItem, { kind: 'frames' }>, line: number): string | Buffer;
  lines(item: Extract<OutputItem, { kind: 'lines' }>, frame: number): string;
  /**
   * Returns the last event of a stream.
   * @param data JSON
   */
  last(event: 'end' | 'error', data: string, position: Position): string;
}

const EVENTS = {
  [FRAME_KINDS.json]: 'chunk',
  [FRAME_KINDS.text]: 'chunk',
  [FRAME_KINDS.bytes]: 'chunk',
  [FRAME_KINDS.progress]: 'progress',
  [FRAME_KINDS.restart]: 'restart',
  [FRAME_KINDS.head]: 'head',
} as const;

/** Time after which a client reconnects, ms. */
const RETRY_MS = 1000;

/** Returns the id of an event: the position of a reader that has it, in the form that {@link parsePosition} reads. */
function eventId({ frame, line }: Position, wanted: Wanted): string {
  if (!wanted.lines) return String(frame);
  return wanted.frames ? `${frame}-${line}` : String(line);
}

/** Parses a `Last-Event-ID` into a position; null if it is malformed. */
export function parsePosition(id: string, wanted: Wanted): Position | null {
  const match = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(id);
  if (match === null) return null;
  const [first, second] = [Number(match[1]), match[2] === undefined ? null : Number(match[2])];
  if (wanted.frames && wanted.lines) return { frame: first, line: second ?? 0 };
  if (second !== null) return null;
  return wanted.frames ? { frame: first, line: 0 } : { frame: 0, line: first };
}

/** Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function serverSentEvents(wanted: Wanted): StreamFormat {
  const event = (name: string, data: string, position: Position) =>
    `id: ${eventId(position, wanted)}\nevent: ${name}\ndata: ${data}\n\n`;
  return {
    contentType: 'text/event-stream; charset=utf-8',
    isRaw: false,
    opening: `retry: ${RETRY_MS}\n\n`,
    heartbeat: ':\n\n',
    ...eventFormat(event),
  };
}

/** JSON lines: `{"id", "event", "data"}`. */
export function jsonLines(wanted: Wanted): StreamFormat {
  const event = (name: string, data: string, position: Position) =>
    `{"id":"${eventId(position, wanted)}","event":"${name}","data":${data}}\n`;
  return { contentType: 'application/x-ndjson', isRaw: false, opening: '', heartbeat: '', ...eventFormat(event) };
}

/** The bytes of chunks, and nothing else: text as UTF-8, other values as JSON lines. */
export const rawBytes: StreamFormat = {
  contentType: 'application/octet-stream',
  isRaw: true,
  opening: '',
  heartbeat: '',
  frames({ run }) {
    const parts: Buffer[] = [];
    for (const { kind, payload } of run.frames) {
      if (kind > FRAME_KINDS.bytes) continue;
      parts.push(payload);
      if (kind === FRAME_KINDS.json) parts.push(LINE_FEED);
    }
    return Buffer.concat(parts);
  },
  lines: () => '',
  last: () => '',
};

const LINE_FEED = Buffer.from('\n');

function eventFormat(event: (name: string, data: string, position: Position) => string) {
  return {
    frames({ run }: Extract<OutputItem, { kind: 'frames' }>, line: number): string {
      let text = '';
      let frame = run.after;
      for (const each of run.frames)
        text += event(EVENTS[each.kind] ?? 'unknown', dataOf(each), { frame: ++frame, line });
      return text;
    },
    lines({ run, dropped }: Extract<OutputItem, { kind: 'lines' }>, frame: number): string {
      let text = dropped === 0 ? '' : event('log', droppedNotice(dropped, run), { frame, line: run.after });
      let line = run.after;
      for (const each of run.lines) text += event('log', each, { frame, line: ++line });
      return text;
    },
    last: (name: string, data: string, position: Position) => event(name, data, position),
  };
}

/** Returns a chunk as one line of JSON: text as a string, other bytes as `{"base64": …}`, in the form of a result. */
function dataOf({ kind, payload }: Frame): string {
  // A frame of a newer release, whose payload may be anything.
  if (EVENTS[kind] === undefined) return JSON.stringify({ kind, base64: payload.toString('base64') });
  if (kind === FRAME_KINDS.bytes || !isUtf8(payload)) return JSON.stringify({ base64: payload.toString('base64') });
  const text = payload.toString('utf8');
  if (kind === FRAME_KINDS.text) return JSON.stringify(text);
  // Bootstraps write JSON in one line. A function that speaks the protocol itself could break the line, and so end the event early.
  return /[\r\n]/.test(text) ? JSON.stringify(text) : text;
}
