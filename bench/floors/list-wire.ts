/** The names in Redis, and the one message of the list floors: an id of digits, a space, bytes. */
export const QUEUE = 'queue';
export const ANSWERS = 'answers';
const SPACE = 0x20;

export function pack(id: string, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${id} `), bytes]);
}

export function unpack(message: Buffer): { id: string; bytes: Buffer } {
  const space = message.indexOf(SPACE);
  return { id: message.toString('latin1', 0, space), bytes: message.subarray(space + 1) };
}
