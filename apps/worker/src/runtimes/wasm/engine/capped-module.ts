import { BadModule, BytesReader } from '@pilum/core/wasm/bytes-reader.ts';
import { MAX_TABLE_ELEMENTS, PAGE_BYTES } from '@pilum/core/wasm/module-problems.ts';
import {
  checkPreamble,
  type Limits,
  PREAMBLE_BYTES,
  readLimits,
  readTable,
  SECTIONS,
  SectionOrder,
} from '@pilum/core/wasm/module-sections.ts';

const ELEMENT_TYPES: Readonly<Record<string, number>> = { funcref: 0x70, externref: 0x6f };
const HAS_MAXIMUM = 1;

/**
 * A module whose memory and tables cannot grow beyond a limit: an engine that takes no limits from outside keeps to those
 * that stand in the module itself.
 * @param memoryBytes what the memory may grow to, bytes
 * @throws BadModule for what begins with more, has more than one memory, or is no module
 */
export function capModule(module: Buffer, memoryBytes: number): Buffer {
  checkPreamble(module);
  const pages = Math.floor(memoryBytes / PAGE_BYTES);
  const parts: Buffer[] = [module.subarray(0, PREAMBLE_BYTES)];
  const reader = new BytesReader(module);
  const order = new SectionOrder();
  reader.bytes(PREAMBLE_BYTES);
  while (!reader.isAtEnd) {
    const from = reader.position;
    const id = reader.byte();
    order.next(id);
    const body = reader.bytes(reader.u32());
    if (id === SECTIONS.MEMORY) parts.push(section(id, cappedMemories(new BytesReader(body), pages)));
    else if (id === SECTIONS.TABLE) parts.push(section(id, cappedTables(new BytesReader(body))));
    else parts.push(module.subarray(from, reader.position));
  }
  return Buffer.concat(parts);
}

function cappedMemories(reader: BytesReader, pages: number): number[] {
  const memories = reader.vector(() => readLimits(reader, 'memory'));
  if (memories.length > 1) throw new BadModule(`has ${memories.length} memories, and only one is run here`);
  return [...u32(memories.length), ...memories.flatMap((limits) => cappedLimits(limits, pages, 'memory'))];
}

function cappedTables(reader: BytesReader): number[] {
  const tables = reader.vector(() => readTable(reader));
  const most = Math.floor(MAX_TABLE_ELEMENTS / Math.max(1, tables.length));
  const capped = tables.flatMap(({ element, limits }) => {
    return [ELEMENT_TYPES[element] ?? 0, ...cappedLimits(limits, Math.max(most, limits.minimum), 'table')];
  });
  return [...u32(tables.length), ...capped];
}

function cappedLimits({ minimum, maximum }: Limits, most: number, what: string): number[] {
  if (minimum > most) throw new BadModule(`begins with more ${what} than it may have`);
  return [HAS_MAXIMUM, ...u32(minimum), ...u32(Math.min(maximum ?? most, most))];
}

function section(id: number, body: readonly number[]): Buffer {
  return Buffer.from([id, ...u32(body.length), ...body]);
}

/** LEB128 (core specification 5.2.2). */
function u32(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}
