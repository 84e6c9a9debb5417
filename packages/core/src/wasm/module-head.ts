import { setImmediate as nextTurn } from 'node:timers/promises';
import { BadModule, BytesReader } from './bytes-reader.ts';
import {
  checkPreamble,
  type Limits,
  PREAMBLE_BYTES,
  readLimits,
  readTable,
  readValueType,
  SECTIONS,
  SectionOrder,
  type ValueType,
} from './module-sections.ts';

export interface FunctionType {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export const EXTERNAL_KINDS = ['function', 'table', 'memory', 'global', 'tag'] as const;
export type ExternalKind = (typeof EXTERNAL_KINDS)[number];

export interface ModuleImport {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternalKind;
}

/** The contents of a module before its code: all that one has to know to say whether it can be run. */
export interface ModuleHead {
  readonly imports: readonly ModuleImport[];
  /** By name; `type` is null of what is no function. */
  readonly exports: ReadonlyMap<string, { readonly kind: ExternalKind; readonly type: FunctionType | null }>;
  readonly memories: readonly Limits[];
  readonly tables: readonly Limits[];
}

/** All sections that are read together: more than real modules have, and little enough to be read at a deployment. */
const MAX_HEAD_BYTES = 4 * 1024 * 1024;
/** Limits of everything that is counted: as much as engines take, or as real modules have by far. */
const MOST = {
  sections: 1000,
  types: 100_000,
  values: 1000,
  imports: 100_000,
  functions: 1_000_000,
  tables: 1000,
  memories: 100,
  exports: 100_000,
};
/** Bytes that are read in one go; then others have their turn. */
const SLICE_BYTES = 32 * 1024;
/** The sections that are read, if they are there, and not skipped. */
const WANTED: ReadonlySet<number> = new Set([
  SECTIONS.TYPE,
  SECTIONS.IMPORT,
  SECTIONS.FUNCTION,
  SECTIONS.TABLE,
  SECTIONS.MEMORY,
  SECTIONS.EXPORT,
]);
/** Behind these nothing is wanted any more. */
const LAST: ReadonlySet<number> = new Set([SECTIONS.ELEMENT, SECTIONS.DATA_COUNT, SECTIONS.CODE, SECTIONS.DATA]);

/**
 * Reads the head of a module, and no more of it than that: its code is neither looked at nor waited for.
 * @param chunks the module from its beginning; given up where the head ends
 * @throws BadModule for what is no module, or uses what the engines do not run
 */
export async function readModuleHead(chunks: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<ModuleHead> {
  const source = new ChunkSource(chunks);
  try {
    checkPreamble(await source.take(PREAMBLE_BYTES));
    return await parseHead(await readSections(source));
  } finally {
    await source.close();
  }
}

async function readSections(source: ChunkSource): Promise<Map<number, Buffer>> {
  const sections = new Map<number, Buffer>();
  const order = new SectionOrder();
  let total = 0;
  for (let count = 0; ; count++) {
    if (count > MOST.sections) throw new BadModule(`has more than ${MOST.sections} sections`);
    const [id] = await source.take(1);
    if (id === undefined || LAST.has(id)) return sections;
    order.next(id);
    if (id === SECTIONS.TAG) throw new BadModule('uses exceptions of WebAssembly, which are not run here');
    const size = await source.u32();
    if (!WANTED.has(id)) {
      await source.skip(size);
      continue;
    }
    total += size;
    if (total > MAX_HEAD_BYTES) throw new BadModule(`declares more than ${MAX_HEAD_BYTES} bytes of types and names`);
    const bytes = await source.take(size);
    if (bytes.length < size) throw new BadModule('ends in the middle of a section');
    sections.set(id, bytes);
  }
}

async function parseHead(sections: ReadonlyMap<number, Buffer>): Promise<ModuleHead> {
  const read = async <T>(id: number, most: number, item: (reader: BytesReader) => T): Promise<T[]> => {
    const bytes = sections.get(id);
    if (bytes === undefined) return [];
    const reader = new BytesReader(bytes);
    const items: T[] = [];
    let turnAt = SLICE_BYTES;
    for (let left = reader.count(most); left > 0; left--) {
      items.push(item(reader));
      if (reader.position < turnAt) continue;
      turnAt = reader.position + SLICE_BYTES;
      await nextTurn();
    }
    return items;
  };
  const types = await read(SECTIONS.TYPE, MOST.types, readFunctionType);
  const imported: number[] = [];
  const memories: Limits[] = [];
  const tables: Limits[] = [];
  const imports = await read(SECTIONS.IMPORT, MOST.imports, (reader) => {
    const module = reader.name();
    const name = reader.name();
    const kind = kindOf(reader.byte());
    if (kind === 'function') imported.push(reader.u32());
    else if (kind === 'table') tables.push(readTable(reader).limits);
    else if (kind === 'memory') memories.push(readLimits(reader, 'memory'));
    else if (kind === 'global') {
      readValueType(reader);
      reader.byte(); // whether it may change
    } else {
      reader.byte();
      reader.u32();
    }
    return { module, name, kind };
  });
  const functions = imported.concat(await read(SECTIONS.FUNCTION, MOST.functions, (reader) => reader.u32()));
  tables.push(...(await read(SECTIONS.TABLE, MOST.tables, (reader) => readTable(reader).limits)));
  memories.push(...(await read(SECTIONS.MEMORY, MOST.memories, (reader) => readLimits(reader, 'memory'))));
  const exports = await read(SECTIONS.EXPORT, MOST.exports, (reader) => {
    const name = reader.name();
    const kind = kindOf(reader.byte());
    const index = reader.u32();
    const type = kind === 'function' ? (types[functions[index] ?? -1] ?? null) : null;
    return [name, { kind, type }] as const;
  });
  return { imports, exports: new Map(exports), memories, tables };
}

function readFunctionType(reader: BytesReader): FunctionType {
  if (reader.byte() !== 0x60) throw new BadModule('uses garbage-collected types, which are not run here');
  const parameters = reader.vector(() => readValueType(reader), MOST.values);
  return { parameters, results: reader.vector(() => readValueType(reader), MOST.values) };
}

function kindOf(byte: number): ExternalKind {
  const kind = EXTERNAL_KINDS[byte];
  if (kind === undefined) throw new BadModule('imports or exports something of a kind that is not known');
  return kind;
}

/** Bytes of a 32-bit number in LEB128. */
const MAX_LEB_BYTES = 5;

/** Bytes that come in chunks, taken one after the other; what is skipped is not kept. */
class ChunkSource {
  readonly #chunks: AsyncIterator<Buffer> | Iterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer> | Iterable<Buffer>) {
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** So many bytes; fewer only at the end. */
  async take(count: number): Promise<Buffer> {
    const taken: Buffer[] = [];
    for (let missing = count; missing > 0 && (await this.#fill()); ) {
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      taken.push(part);
    }
    return taken.length === 1 ? (taken[0] as Buffer) : Buffer.concat(taken);
  }

  async skip(count: number): Promise<void> {
    for (let missing = count; missing > 0; ) {
      if (!(await this.#fill())) throw new BadModule('ends in the middle of a section');
      const part = Math.min(missing, this.#rest.length);
      this.#rest = this.#rest.subarray(part);
      missing -= part;
    }
  }

  async u32(): Promise<number> {
    const bytes: number[] = [];
    for (let more = true; more; more = ((bytes.at(-1) ?? 0) & 0x80) !== 0) {
      if (bytes.length === MAX_LEB_BYTES) throw new BadModule('holds a number without end');
      const [byte] = await this.take(1);
      // Asked for again and again it would hold everyone up for ever.
      if (byte === undefined) throw new BadModule('ends in the middle of a number');
      bytes.push(byte);
    }
    return new BytesReader(Buffer.from(bytes)).u32();
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** Whether there is anything left. */
  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#rest = next.value;
    }
    return true;
  }
}
