import { gunzipSync, gzipSync } from 'node:zlib';

/** Packs bytes, or unpacks what is packed. A payload that is neither JSON nor text is a Buffer; bytes that are returned are the result. */
export default function handler(event) {
  const isPacked = event[0] === 0x1f && event[1] === 0x8b;
  return isPacked ? gunzipSync(event) : gzipSync(event);
}
