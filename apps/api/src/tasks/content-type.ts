import { invalid } from '../http/validation.ts';

/** Character sets that all handler languages can decode, by names that all of them know. */
const READABLE: ReadonlySet<string> = new Set(
  [
    'utf-8 utf8 utf-16 utf-16le utf-16be us-ascii ascii ansi_x3.4-1968 macintosh koi8-r koi8-u ibm866 cp866',
    'iso-ir-100 latin1 latin2 latin3 latin4 latin5 latin6 iso8859-1 iso_8859-1 iso8859-2 iso8859-5 iso8859-9 iso8859-15',
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16].map((part) => `iso-8859-${part}`),
    ...[1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258].map((page) => `windows-${page} cp${page}`),
    'gbk gb2312 gb18030 big5 big5-hkscs euc-jp iso-2022-jp shift_jis shift-jis sjis ms_kanji euc-kr ks_c_5601-1987',
  ].flatMap((names) => names.split(' ')),
);
const JSON_CHARSETS: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

/** Grammar of a media type as in RFC 9110, section 8.3.1; a trailing semicolon is tolerated. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const ESSENCE = new RegExp(`[ \\t]*(${TOKEN}/${TOKEN})[ \\t]*(?:;|$)`, 'y');
const PARAMETER = new RegExp(
  `[ \\t]*(?:(${TOKEN})=(?:(${TOKEN})|"((?:[^"\\\\\\u0000-\\u0008\\u000a-\\u001f\\u007f]|\\\\[\\t -~])*)")[ \\t]*)?(?:;|$)`,
  'y',
);

/** A parsed content type, in lower case. */
interface ContentType {
  readonly essence: string;
  /** The values of `charset` in their order; empty if there is none. */
  readonly charsets: readonly string[];
}

/** Parses a content type; null if it is malformed. */
export function readContentType(text: string): ContentType | null {
  ESSENCE.lastIndex = 0;
  const essence = ESSENCE.exec(text)?.[1];
  if (essence === undefined) return null;
  const charsets: string[] = [];
  for (let at = ESSENCE.lastIndex; at < text.length; at = PARAMETER.lastIndex) {
    PARAMETER.lastIndex = at;
    const found = PARAMETER.exec(text);
    if (found === null) return null;
    const [, name, token, quoted] = found;
    if (name?.toLowerCase() !== 'charset') continue;
    charsets.push((token ?? quoted?.replaceAll(/\\(.)/g, '$1') ?? '').toLowerCase());
  }
  return { essence: essence.toLowerCase(), charsets };
}

/**
 * Refuses JSON in a character set other than UTF-8 or its subset ASCII.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function requireJsonCharset(contentType: string | undefined): void {
  if (contentType === undefined || contentType === 'application/json') return;
  requireCharset(contentType, JSON_CHARSETS, 'JSON is UTF-8');
}

/**
 * Refuses a content type from which no event for a handler can be made: malformed, with an unknown character set, or with two.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function requireReadable(contentType: string): void {
  if (contentType === 'application/json' || contentType === 'application/octet-stream') return;
  const isJson = /^[ \t]*application\/(?:[^;]*\+)?json[ \t]*(?:;|$)/i.test(contentType);
  if (isJson) requireCharset(contentType, JSON_CHARSETS, 'JSON is UTF-8');
  else requireCharset(contentType, READABLE, 'text is read as UTF-8 where none is said');
}

function requireCharset(contentType: string, known: ReadonlySet<string>, otherwise: string): void {
  const read = readContentType(contentType);
  const refuse = (what: string) => invalid([{ where: '/headers/content-type', what }]);
  if (read === null) throw refuse(`${shown(contentType)} is not a well-formed media type`);
  const [charset, ...more] = read.charsets;
  if (more.length > 0) throw refuse('names a charset more than once');
  if (charset === undefined || known.has(charset)) return;
  throw refuse(`names the charset ${shown(charset)}, which cannot be read here; ${otherwise}`);
}

const shown = (text: string) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
