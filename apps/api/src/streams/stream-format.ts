import { isUtf8 } from 'node:buffer';
import { FRAME_KINDS, type Frame } from '@pilum/core/schemas/frame.ts';
import { droppedNotice } from '../tasks/log-lines.ts';
import type { OutputItem, Position, Wanted } from './output-reader.ts';

/** How a stream is written. What it makes of an item goes out in one write. */
export interface StreamFormat {
  readonly contentType: string;
  /** Only what a function has yielded, one after the other: what else there is to say cannot be said in it. */
  readonly isRaw: boolean;
  /** Before everything else. */
  readonly opening: string;
  /** Says nothing, so that what lies between does not take the connection for dead. */
  readonly heartbeat: string;
  frames(item: Extract<OutputItem, { kind: 'frames' }>, line: number): string | Buffer;
  lines(item: Extract<OutputItem, { kind: 'lines' }>, frame: number): string;
  /** @param data JSON */
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

/** After a lost connection a client comes back so soon, ms. */
const RETRY_MS = 1000;

/** The id of an event: where a reader stands who has it. {@link parsePosition} reads it. */
function eventId({ frame, line }: Position, wanted: Wanted): string {
  if (!wanted.lines) return String(frame);
  return wanted.frames ? `${frame}-${line}` : String(line);
}

/** Where a reader stands who gives this `Last-Event-ID`; null where it is none of ours. */
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

/** A JSON object a line: `{"id", "event", "data"}`. */
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
    const deps: Buffer[] = [];
    for (const { kind, payload } of run.frames) {
      if (kind > FRAME_KINDS.bytes) continue;
      deps.push(payload);
      if (kind === FRAME_KINDS.json) deps.push(LINE_FEED);
    }
    return Buffer.concat(deps);
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
        text += event(EVENTS[each.kind] ?? 'chunk', dataOf(each), { frame: ++frame, line });
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

/** A chunk as JSON in one line: text as a string, other bytes as `{"base64": …}`, as a result is shown. */
function dataOf({ kind, payload }: Frame): string {
  if (kind === FRAME_KINDS.bytes || !isUtf8(payload)) return JSON.stringify({ base64: payload.toString('base64') });
  const text = payload.toString('utf8');
  if (kind === FRAME_KINDS.text) return JSON.stringify(text);
  // A bootstrap writes JSON in one line; what does not is a function that speaks for itself, and must not end the event.
  return /[\r\n]/.test(text) ? JSON.stringify(text) : text;
}
