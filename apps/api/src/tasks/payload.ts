import { isUtf8 } from 'node:buffer';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { INLINE_LIMIT_BYTES } from '@pilum/core/store/task-store.ts';
import { parseJson } from '../http/json-body.ts';
import { shapeOf } from './media-type.ts';

/** Largest JSON that is validated here, bytes. The instance validates larger ones as it parses them; here that would delay other calls. */
const JSON_CHECK_LIMIT_BYTES = 64 * 1024;

/**
 * Checks that a payload with a JSON content type is JSON; an empty payload is allowed.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function checkPayload(contentType: string, payload: Buffer): void {
  if (payload.length === 0 || payload.length > JSON_CHECK_LIMIT_BYTES) return;
  if (shapeOf(contentType) === 'json') parseJson(payload);
}

/** Returns the payload field of a ticket: it contains a small payload, and points to a large one beside the job. */
export function ticketPayload(payload: Buffer): Ticket['payload'] {
  if (payload.length > INLINE_LIMIT_BYTES) return { encoding: 'beside', sizeBytes: payload.length };
  const encoding = isUtf8(payload) ? 'utf8' : 'base64';
  return { encoding, data: payload.toString(encoding) };
}
