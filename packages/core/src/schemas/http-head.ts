import { type Static, Type } from 'typebox';
import { matches } from './check.ts';

const strict = { additionalProperties: false } as const;

/** The target of a request to a function as a web endpoint. */
export const HttpTarget = Type.Object(
  {
    method: Type.String(),
    /** Path and query as they were sent, behind what names the function; begins with `/`. */
    url: Type.String(),
  },
  strict,
);
export type HttpTarget = Static<typeof HttpTarget>;

/** Status and headers of an answer, sent before its body. Names are in lower case; one may come more than once. */
export const HttpHead = Type.Object(
  {
    status: Type.Integer({ minimum: 200, maximum: 599 }),
    headers: Type.Array(Type.Tuple([Type.String(), Type.String()])),
  },
  strict,
);
export type HttpHead = Static<typeof HttpHead>;

/** Bytes of all names and values of a head at most: what Node reads of one, twice. */
export const MOST_HEADER_BYTES = 32 * 1024;
export const MOST_HEADERS = 256;

/** RFC 9110, section 5.6.2 */
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** RFC 9110, section 5.5, without line breaks of any age: nothing in a value begins another header. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Reads a head that a function has given, which is not to be trusted.
 * @returns what is wrong with it, in words, where it is none
 */
export function readHead(given: unknown): HttpHead | string {
  if (!matches(HttpHead, given))
    return 'the head of an answer is a status from 200 to 599, and pairs of text as headers';
  const headers: [string, string][] = [];
  let bytes = 0;
  for (const [name, value] of given.headers) {
    const lower = name.toLowerCase();
    if (!TOKEN.test(lower)) return `${JSON.stringify(name.slice(0, 100))} is no name of a header`;
    if (!VALUE.test(value)) return `the header ${lower} has characters that no header may have`;
    bytes += lower.length + value.length;
    headers.push([lower, value]);
  }
  if (headers.length > MOST_HEADERS || bytes > MOST_HEADER_BYTES) {
    return `an answer may have ${MOST_HEADERS} headers with ${MOST_HEADER_BYTES} bytes, and this one has ${headers.length} with ${bytes}`;
  }
  return { status: given.status, headers };
}

/** The first value of a header; undefined where the head has none of this name. */
export function headerOf({ headers }: HttpHead, name: string): string | undefined {
  return headers.find(([known]) => known === name)?.[1];
}
