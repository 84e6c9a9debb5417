import { BadModule } from '@pilum/core/wasm/bytes-reader.ts';
import { readModuleHead } from '@pilum/core/wasm/module-head.ts';
import { moduleProblems } from '@pilum/core/wasm/module-problems.ts';
import fc from 'fast-check';
import { importing, leb, PREAMBLE, section, tableBomb } from '../../support/module-bytes.ts';
import type { FuzzTarget } from '../target.ts';

const byte = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 0x60, 0x70, 0x7f, 0x80, 0xff));
const bytes = fc.array(byte, { maxLength: 40 });
const count = fc.oneof(fc.nat({ max: 4 }), fc.constantFrom(100, 1001, 2 ** 20, 2 ** 31, 2 ** 32 - 1));

/** Sections that say how much is in them, and may not have it. */
const sections = fc
  .array(fc.tuple(fc.nat({ max: 15 }), count, bytes, fc.boolean()), { maxLength: 6 })
  .map((all) =>
    all.flatMap(([id, items, content, isHonest]) =>
      isHonest ? section(id, [...leb(items), ...content]) : [id, ...leb(items), ...content],
    ),
  );

/** A module that is one, with some bytes of it changed. */
const changed = fc
  .tuple(
    fc.constantFrom(tableBomb(), importing(['env', 'log'], ['wasi_snapshot_preview1', 'fd_write'])),
    fc.array(fc.tuple(fc.nat({ max: 200 }), byte), { maxLength: 6 }),
  )
  .map(([module, changes]) => {
    const copy = [...module];
    for (const [at, value] of changes) copy[at % copy.length] = value;
    return copy;
  });

const module = fc.oneof(
  sections.map((content) => [...PREAMBLE, ...content]),
  changed,
  bytes,
);

/** What a module says of itself, to the API and to the worker. */
export const target: FuzzTarget = {
  name: 'wasm-heads',
  holds: 'any bytes are the head of a module or are told to be none, in whatever pieces they come',
  async open() {
    const property = fc.asyncProperty(module, fc.nat({ max: 100 }), async (content, cut) => {
      const whole = Buffer.from(content);
      const said = await problemsOf([whole]);
      const inPieces = await problemsOf([whole.subarray(0, cut), whole.subarray(cut)]);
      if (said !== inPieces) throw new Error(`${said} as a whole, and ${inPieces} in pieces`);
    });
    return { property, close: async () => undefined };
  },
};

async function problemsOf(pieces: Buffer[]): Promise<string> {
  try {
    return moduleProblems(await readModuleHead(pieces), null, 256).join('; ');
  } catch (error) {
    if (error instanceof BadModule) return error.message;
    throw error;
  }
}
