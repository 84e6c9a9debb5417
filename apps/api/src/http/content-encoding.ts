import type { IncomingHttpHeaders } from 'node:http';
import { invalid } from './validation.ts';

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
