import { isUtf8 } from 'node:buffer';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { INLINE_LIMIT_BYTES } from '@pilum/core/store/task-store.ts';
import { parseJson } from '../http/json-body.ts';
import { shapeOf } from './media-type.ts';

/** Larger JSON is checked where it is parsed anyway, by the function’s side: here it would hold up every other call. */
const JSON_CHECK_LIMIT_BYTES = 64 * 1024;

/** @throws RequestError `VALIDATION_FAILED` where a payload is said to be JSON and is not; an empty one is no event. */
export function checkPayload(contentType: string, payload: Buffer): void {
  if (payload.length === 0 || payload.length > JSON_CHECK_LIMIT_BYTES) return;
  if (shapeOf(contentType) === 'json') parseJson(payload);
}

/** A payload as it stands in a ticket: small ones in it, large ones beside the job. */
export function ticketPayload(payload: Buffer): Ticket['payload'] {
  if (payload.length > INLINE_LIMIT_BYTES) return { encoding: 'beside', sizeBytes: payload.length };
  const encoding = isUtf8(payload) ? 'utf8' : 'base64';
  return { encoding, data: payload.toString(encoding) };
}
