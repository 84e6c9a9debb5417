import { isUtf8 } from 'node:buffer';

const UNSAID = 'application/octet-stream';
/** The content type that `curl -d` and other programs send by default, whatever the body is. */
const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
/** Largest body that is parsed to recognize JSON, bytes. Parsing a larger one would delay other calls, so its first and last character decide. */
const PARSE_LIMIT_BYTES = 64 * 1024;

/**
 * Returns the content type of a payload. A JSON object or array is JSON if the sender names no type or `FORM`; in any other case the
 * sender's word holds. A real form is never mistaken for JSON, because braces and quotes are escaped in it.
 */
export function contentTypeOf(said: string | undefined, payload: Buffer): string {
  if (said !== undefined && said.split(';', 1)[0] !== FORM) return said;
  return isJsonStructure(payload) ? JSON_TYPE : (said ?? UNSAID);
}

function isJsonStructure(payload: Buffer): boolean {
  const first = payload[0];
  const mayBe =
    first === 0x7b || first === 0x5b || first === 0x20 || first === 0x0a || first === 0x0d || first === 0x09;
  if (!mayBe || !isUtf8(payload)) return false;
  const text = payload.toString('utf8').trim();
  const isStructure = (text.startsWith('{') && text.endsWith('}')) || (text.startsWith('[') && text.endsWith(']'));
  if (!isStructure || payload.length > PARSE_LIMIT_BYTES) return isStructure;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
