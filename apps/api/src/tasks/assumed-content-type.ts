import { isUtf8 } from 'node:buffer';

const UNSAID = 'application/octet-stream';
/** What `curl -d` and others say of any body where nobody tells them what it is. */
const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
/** Larger bodies are taken for JSON by their first and last character: to parse one here would hold up every other call. */
const PARSE_LIMIT_BYTES = 64 * 1024;

/**
 * The content type of a payload: what its sender says, or JSON where the sender says nothing, or says `FORM`, and it is a JSON
 * object or array. A form that is one cannot be, because braces and quotes are escaped in it.
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
