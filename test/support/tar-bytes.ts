/** A member as it is written, right or wrong: everything that is not said is as GNU tar would write it. */
export interface RawMember {
  readonly name: string;
  /** As in the header: `0` for a file, `1` for a hard link, `2` for a link, `5` for a directory. */
  readonly type?: string;
  readonly target?: string;
  readonly content?: string | Buffer;
  /** What the header says, where that is not what comes. */
  readonly sizeBytes?: number;
  readonly mode?: number;
  /** Written into the finished header, before its checksum is. */
  readonly patch?: (header: Buffer) => void;
}

const BLOCK = 512;

/** One member: its header and its content, filled up to whole blocks. */
export function tarMember({ name, type = '0', target = '', content = '', ...more }: RawMember): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100);
  header.write(`${(more.mode ?? 0o644).toString(8).padStart(7, '0')}\0`, 100);
  header.write(`${(more.sizeBytes ?? bytes.length).toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write(type, 156);
  header.write(target, 157, 100);
  header.write('ustar  \0', 257);
  more.patch?.(header);
  header.write('        ', 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

/** An archive of these members, with its end. */
export function tarBytes(...members: readonly (RawMember | Buffer)[]): Buffer {
  return Buffer.concat([
    ...members.map((member) => (Buffer.isBuffer(member) ? member : tarMember(member))),
    Buffer.alloc(2 * BLOCK),
  ]);
}

/** A header of the pax format with these records, for the member that follows. */
export function paxHeader(records: Readonly<Record<string, string>>, type: 'x' | 'g' = 'x'): Buffer {
  const text = Object.entries(records).map(([key, value]) => paxRecord(key, value));
  return tarMember({ name: 'PaxHeader', type, content: text.join('') });
}

function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (`${length}`.length + rest !== length) length = `${length}`.length + rest;
  return `${length} ${key}=${value}\n`;
}

/** A name of more than a hundred bytes, for the member that follows, as GNU tar writes it. */
export const longName = (name: string, type: 'L' | 'K' = 'L'): Buffer =>
  tarMember({ name: '././@LongLink', type, content: `${name}\0` });
