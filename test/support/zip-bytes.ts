import { crc32, deflateRawSync } from 'node:zlib';

/** A member as it is written, right or wrong. */
export interface RawZipMember {
  readonly name: string;
  readonly content?: string | Buffer;
  /** With its type, as a Unix has it; left out for an archive that was made elsewhere. */
  readonly mode?: number;
  readonly flags?: number;
  readonly method?: number;
  /** What the directory says, where that is not what is there. */
  readonly says?: { readonly sizeBytes?: number; readonly crc?: number; readonly at?: number };
  /** The name in front of its content, where that is another. */
  readonly localName?: string;
}

const DEFLATED = 8;
const IS_UTF8 = 0x800;
const MADE_BY_UNIX = (3 << 8) | 20;

/** A zip archive of these members, in this order. */
export function zipBytes(...members: readonly RawZipMember[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, content = '', mode, says = {}, ...more } of members) {
    const bytes = Buffer.from(content);
    const packed = deflateRawSync(bytes);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(more.flags ?? IS_UTF8, 2);
    fields.writeUInt16LE(more.method ?? DEFLATED, 4);
    fields.writeUInt32LE(0x5a21_0000, 6); // a moment of 2025
    fields.writeUInt32LE(says.crc ?? crc32(bytes), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(says.sizeBytes ?? bytes.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.from(fields);
    local.writeUInt16LE(Buffer.byteLength(more.localName ?? name), 22);
    const part = Buffer.concat([Buffer.from('PK\u0003\u0004'), local, Buffer.from(more.localName ?? name), packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(((mode ?? 0) << 16) >>> 0, 6);
    rest.writeUInt32LE(says.at ?? at, 10);
    const madeBy = Buffer.alloc(2);
    if (mode !== undefined) madeBy.writeUInt16LE(MADE_BY_UNIX);
    directory.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), madeBy, fields, rest, Buffer.from(name)]));
    parts.push(part);
    at += part.length;
  }
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}
