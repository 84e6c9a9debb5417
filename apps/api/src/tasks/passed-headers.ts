import { invalid } from '../http/validation.ts';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Headers that a function receives besides those that begin with `x-`. Never `authorization` or `cookie`. */
const PASSED: ReadonlySet<string> = new Set(['accept', 'accept-language', 'user-agent']);

/** Headers in which proxies describe a caller; also spelled with `_`, because CGI-like servers treat `-` and `_` alike. */
const OF_PROXIES =
  /^x-(?:forwarded[-_]|real[-_]ip$|client[-_]ip$|cluster[-_]client[-_]ip$|original[-_]|rewrite[-_]url$)/;

const MAX_COUNT = 32;
const MAX_BYTES = 8 * 1024;

/**
 * Returns the headers that travel with a task.
 * @throws RequestError `VALIDATION_FAILED` if they are too many or too large, because dropping some silently would surprise the caller
 */
export function passedHeaders(headers: Headers): Record<string, string> {
  const passed: Record<string, string> = {};
  let count = 0;
  let bytes = 0;
  for (const name in headers) {
    const isOwn = name.startsWith('x-') && !OF_PROXIES.test(name);
    if (!isOwn && !PASSED.has(name)) continue;
    const value = String(headers[name]);
    passed[name] = value;
    count++;
    bytes += name.length + value.length;
  }
  if (count > MAX_COUNT || bytes > MAX_BYTES) {
    const what = `that go to the function may be up to ${MAX_COUNT} with ${MAX_BYTES} bytes; these are ${count} with ${bytes}`;
    throw invalid([{ where: '/headers', what }]);
  }
  return passed;
}
