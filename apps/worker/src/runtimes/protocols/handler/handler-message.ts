import { isUtf8 } from 'node:buffer';
import { type HttpHead, readHead } from '@pilum/core/schemas/http-head.ts';
import { BadFrame, FRAME_TYPES, type Frame, parseMeta } from './frames.ts';
import { WIRE_LIMITS } from './wire-limits.ts';

/**
 * The content of one frame of a handler's instance, every field of it looked at: nothing behind this reads a frame's meta.
 */
export type HandlerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'output'; readonly stream: 'stdout' | 'stderr'; readonly level: unknown }
  | {
      readonly kind: 'record';
      readonly id: number;
      readonly level: unknown;
      readonly text: string;
      readonly fields: Readonly<Record<string, unknown>> | undefined;
    }
  | { readonly kind: 'chunk'; readonly id: number }
  | { readonly kind: 'progress'; readonly id: number; readonly json: string }
  | { readonly kind: 'head'; readonly id: number; readonly head: HttpHead }
  | {
      readonly kind: 'result';
      readonly id: number;
      readonly contentType: string;
      readonly streamed: boolean;
      readonly head: HttpHead | undefined;
      /** The instance ends by itself after this: an earlier call has left it in an unknown state. */
      readonly fatal: boolean;
    }
  /** The instance ends for a reason that is none of the running call's. */
  | { readonly kind: 'lost' }
  /** The end of the process with this code, by its own doing and by no signal. */
  | { readonly kind: 'exits'; readonly exitCode: number }
  | { readonly kind: 'error'; readonly id: number; readonly fatal: boolean; readonly fields: Record<string, unknown> };

/** The most that a function may say of its progress, bytes. */
export const MAX_PROGRESS: number = WIRE_LIMITS.MAX_PROGRESS;
/** Lists and objects within each other, at most: whoever reads them may not be made for more. */
const MOST_NESTED = 100;
const MEDIA_TYPE = /^[\x20-\x7e]{1,255}$/;
const UNKNOWN_TYPE = 'application/octet-stream';

/**
 * Reads a frame of a handler's instance, which is not to be trusted.
 * @throws BadFrame where it is not what the bootstraps send
 */
export function readHandlerMessage(frame: Frame): HandlerMessage {
  const { type, payload } = frame;
  const meta = parseMeta(frame);
  switch (type) {
    case FRAME_TYPES.RESULT:
      return {
        kind: 'result',
        id: idOf(type, meta),
        contentType: mediaTypeOf(type, meta),
        streamed: meta.streamed === true,
        head: meta.head === undefined ? undefined : headOf(type, meta),
        fatal: meta.fatal === true,
      };
    case FRAME_TYPES.LOG:
      if (meta.stream !== undefined) return { kind: 'output', stream: streamOf(type, meta), level: meta.level };
      return {
        kind: 'record',
        id: idOf(type, meta),
        level: meta.level,
        text: textOf(type, meta, 'text'),
        fields: fieldsOf(meta.fields, frame.meta),
      };
    case FRAME_TYPES.CHUNK:
      return { kind: 'chunk', id: idOf(type, meta) };
    case FRAME_TYPES.PROGRESS:
      return { kind: 'progress', id: idOf(type, meta), json: progressOf(type, payload) };
    case FRAME_TYPES.HEAD:
      return { kind: 'head', id: idOf(type, meta), head: headOf(type, meta) };
    case FRAME_TYPES.ERROR:
      if (meta.lost === true) return { kind: 'lost' };
      if (meta.exitCode !== undefined) return { kind: 'exits', exitCode: exitCodeOf(type, meta) };
      return { kind: 'error', id: idOf(type, meta), fatal: meta.fatal === true, fields: meta };
    case FRAME_TYPES.PONG:
      return { kind: 'pong' };
    case FRAME_TYPES.READY:
      return { kind: 'ready' };
    default:
      throw new BadFrame(type, false, 'there is no such frame');
  }
}

type Meta = Readonly<Record<string, unknown>>;

function idOf(type: number, { id }: Meta): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0) return id;
  throw new BadFrame(type, false, 'its id is not the number of a call');
}

function exitCodeOf(type: number, { exitCode }: Meta): number {
  if (typeof exitCode === 'number' && Number.isInteger(exitCode) && exitCode > 0 && exitCode < 256) return exitCode;
  throw new BadFrame(type, false, 'its exitCode is none');
}

function textOf(type: number, meta: Meta, name: string): string {
  const value = meta[name];
  if (value === undefined) return '';
  if (typeof value !== 'string') throw new BadFrame(type, false, `its ${name} is not text`);
  return value.toWellFormed();
}

function streamOf(type: number, { stream }: Meta): 'stdout' | 'stderr' {
  if (stream === 'stdout' || stream === 'stderr') return stream;
  throw new BadFrame(type, false, 'its stream is neither stdout nor stderr');
}

/** Reads the media type of a result; a type that no header may have, which a function can name, is that of mere bytes. */
function mediaTypeOf(type: number, meta: Meta): string {
  const given = textOf(type, meta, 'contentType');
  return MEDIA_TYPE.test(given) ? given : UNKNOWN_TYPE;
}

function headOf(type: number, { head: given }: Meta): HttpHead {
  const head = readHead(given);
  if (typeof head === 'string') throw new BadFrame(type, false, head);
  return head;
}

/** A function may give anything as the fields of a record; what are none is no reason to end it. */
function fieldsOf(given: unknown, meta: Buffer): Readonly<Record<string, unknown>> | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  if (isNestedDeeper(meta.toString('latin1'), MOST_NESTED)) return { cut: 'too deep' };
  return Array.isArray(given) ? { values: given } : (given as Record<string, unknown>);
}

function progressOf(type: number, payload: Buffer): string {
  if (payload.length > MAX_PROGRESS) throw new BadFrame(type, true);
  if (!isUtf8(payload)) throw new BadFrame(type, false, 'it is not UTF-8');
  const json = payload.toString('utf8');
  if (isNestedDeeper(json, MOST_NESTED)) {
    throw new BadFrame(type, false, `what it says has more than ${MOST_NESTED} lists and objects within each other`);
  }
  try {
    JSON.parse(json);
  } catch {
    throw new BadFrame(type, false, 'what it says is not JSON');
  }
  return json;
}

const OPENING = /[[{]/g;

/** Tells whether JSON has more than so many lists and objects within each other. */
function isNestedDeeper(json: string, most: number): boolean {
  if ((json.match(OPENING)?.length ?? 0) <= most) return false;
  let depth = 0;
  let isText = false;
  for (let at = 0; at < json.length; at++) {
    const unit = json[at];
    if (isText) {
      if (unit === '\\') at++;
      else if (unit === '"') isText = false;
    } else if (unit === '"') isText = true;
    else if (unit === '{' || unit === '[') {
      if (++depth > most) return true;
    } else if (unit === '}' || unit === ']') depth--;
  }
  return false;
}
