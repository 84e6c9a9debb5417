import type { IncomingHttpHeaders } from 'node:http';
import { invalid } from './validation.ts';

/**
 * Refuses a body in another transfer coding than chunked, which nobody would undo.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function requireChunked({ 'transfer-encoding': coding }: IncomingHttpHeaders): void {
  if (coding === undefined || /^[ \t]*chunked[ \t]*$/i.test(coding)) return;
  const what = `${JSON.stringify(coding.slice(0, 100))} is not supported; send the bytes as they are, chunked or with a Content-Length`;
  throw invalid([{ where: '/headers/transfer-encoding', what }]);
}

/**
 * Refuses a body with a Content-Encoding other than identity.
 * @param why the reason or the remedy, as the end of a sentence
 * @throws RequestError `VALIDATION_FAILED`
 */
export function requireIdentity(headers: IncomingHttpHeaders, why = 'send the bytes as they are'): void {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || /^[ \t]*(?:identity[ \t]*)?$/i.test(encoding)) return;
  const what = `${JSON.stringify(encoding.slice(0, 100))} is not supported; ${why}`;
  throw invalid([{ where: '/headers/content-encoding', what }]);
}
