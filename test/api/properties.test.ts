import { artifactIdOf, ulidOf } from '@pilum/core/redis/keys.ts';
import { acceptedAtOf, firstUlidAt, newTaskId } from '@pilum/core/redis/task-id.ts';
import { ArtifactSpec, ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { matches, problemsOf } from '@pilum/core/schemas/check.ts';
import { ArtifactReference, Name, TaskId } from '@pilum/core/schemas/names.ts';
import { Envelope, Outcome } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, contentHash } from '../../apps/api/src/artifacts/content-hash.ts';
import { resolveSpec } from '../../apps/api/src/artifacts/resolve-spec.ts';
import { findJsonFault } from '../../apps/api/src/http/json-fault.ts';
import { parseDuration } from '../../apps/api/src/tasks/duration.ts';
import { settledText } from '../../apps/api/src/tasks/envelope.ts';
import { outcomeFor, ticketFor } from '../support/tasks.ts';

const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?$/);

const spec: fc.Arbitrary<ArtifactSpecInput> = fc
  .record(
    {
      runtime: fc.constant('process' as const),
      env: fc.dictionary(fc.stringMatching(/^[A-Za-z][A-Za-z0-9_]{0,9}$/), fc.string()),
      limits: fc.record(
        { memoryMiB: fc.integer({ min: 16, max: 1024 }), cpu: fc.double({ min: 0.05, max: 64, noNaN: true }) },
        { requiredKeys: [] },
      ),
      timeouts: fc.record({ runMs: fc.integer({ min: 1, max: 86_400_000 }) }, { requiredKeys: [] }),
      retry: fc.record({ backoff: fc.record({ jitter: fc.constant(0) }, { requiredKeys: [] }) }, { requiredKeys: [] }),
      pool: fc.record({ max: fc.integer({ min: 1, max: 1000 }) }, { requiredKeys: [] }),
      labels: fc.dictionary(name, fc.string({ maxLength: 255 })),
    },
    { requiredKeys: ['runtime'] },
  )
  .chain((common) =>
    fc
      .oneof(
        fc.record({
          code: fc.record({ inline: fc.string({ minLength: 1 }) }),
          entry: fc.option(fc.constantFrom('index.mjs', 'a/b.ts#run', 'main.py', 'x.cjs#y'), { nil: undefined }),
        }),
        fc.record({
          command: fc
            .array(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 4 })
            .filter(([program = '']) => !program.startsWith('-') && !program.includes('=')),
        }),
      )
      .map((rest) => JSON.parse(JSON.stringify({ ...common, ...rest }))),
  );

const options = {
  allowHostNetwork: false,
  images: { node: 'node:26-slim', python: 'python:3.11-slim-bookworm' },
};

describe('any spec that is accepted', () => {
  it('is resolved to a whole spec that says what was asked for', () => {
    fc.assert(
      fc.property(spec, (input) => {
        expect(problemsOf(ArtifactSpecInput, input)).toEqual([]);
        const before = JSON.stringify(input);
        const { spec: resolved, code } = resolveSpec(input, options);
        expect(JSON.stringify(input)).toBe(before);
        expect(problemsOf(ArtifactSpec, resolved)).toEqual([]);
        const { code: _code, entry: _entry, ...asked } = input;
        expect(resolved).toMatchObject(asked);
        expect(code === null).toBe(input.code === undefined);
      }),
    );
  });

  it('resolves to itself, and has one content hash however its fields are ordered', () => {
    fc.assert(
      fc.property(spec, (input) => {
        const first = resolveSpec(input, options).spec;
        const asked = { ...first, ...(input.code === undefined ? {} : { code: input.code }) } as ArtifactSpecInput;
        const again = resolveSpec(asked, options).spec;
        expect(again).toEqual(first);
        const reversed = Object.fromEntries(Object.entries(first).reverse()) as typeof first;
        expect(contentHash(reversed, null)).toBe(contentHash(first, null));
      }),
    );
  });
});

describe('canonical JSON', () => {
  it('is JSON of the same value, and equal for equal values', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(canonicalJson(plain))).toEqual(plain);
        expect(canonicalJson(JSON.parse(canonicalJson(plain)))).toBe(canonicalJson(plain));
      }),
    );
  });
});

describe('ids', () => {
  it('take apart into what they were made of', () => {
    fc.assert(
      fc.property(name, (artifactId) => {
        const before = Date.now();
        const taskId = newTaskId(artifactId);
        expect(matches(TaskId, taskId)).toBe(true);
        expect(artifactIdOf(taskId)).toBe(artifactId);
        expect(acceptedAtOf(taskId)).toBeGreaterThanOrEqual(before);
        expect(ulidOf(taskId) > firstUlidAt(before)).toBe(true);
        expect(ulidOf(taskId) < firstUlidAt(Date.now() + 2)).toBe(true);
        expect(ulidOf(newTaskId(artifactId)) > ulidOf(taskId)).toBe(true);
      }),
    );
  });

  it('of any other form are refused', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (matches(Name, text)) expect(text).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/);
        if (matches(ArtifactReference, text)) expect(text).toMatch(/^[a-z0-9-]{1,63}(@[a-z0-9-]{1,63})?$/);
        expect(matches(TaskId, text)).toBe(false);
      }),
    );
  });
});

describe('an envelope', () => {
  it('gives any JSON result back as it was, and is always an envelope', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json(), async (text) => {
        const outcome = withResult('application/json', text);
        const envelope = JSON.parse(await settledText(noStore, outcome));
        expect(problemsOf(Envelope, envelope)).toEqual([]);
        expect(envelope.result).toEqual(JSON.parse(text));
        expect(envelope.taskId).toBe(outcome.taskId);
      }),
    );
  });

  it('is not broken by any text, whatever type it claims to be', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary' }),
        fc.constantFrom('application/json', 'text/plain', 'a/b'),
        async (raw, type) => {
          const text = raw.toWellFormed();
          const outcome = withResult(type, text);
          const envelope = JSON.parse(await settledText(noStore, outcome));
          expect(problemsOf(Envelope, envelope)).toEqual([]);
          expect(envelope.taskId).toBe(outcome.taskId);
          if (type === 'text/plain') expect(envelope.result).toBe(text);
          if (type === 'a/b') expect(Buffer.from(envelope.result.base64, 'base64').toString()).toBe(text);
        },
      ),
    );
  });
});

describe('the place of a fault in JSON', () => {
  it('is where a change made it, or after', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.constantFrom('', ',', '}', '"', 'x', ':', '\u0000'), (text, seed, change) => {
        const at = seed % (text.length + 1);
        const broken = change === '' ? text.slice(0, at) : text.slice(0, at) + change + text.slice(at);
        try {
          JSON.parse(broken);
        } catch {
          const { position, line, column } = findJsonFault(broken);
          expect(position).toBeLessThanOrEqual(broken.length);
          expect(line).toBeGreaterThan(0);
          expect(column).toBeGreaterThan(0);
          // Everything before it is the beginning of some JSON: the unbroken part never has a fault.
          expect(position).toBeGreaterThanOrEqual(Math.min(at, firstFaultLimit(text, at)));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a duration', () => {
  it('is read in each of its units, and nothing else is one', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), (n) => {
        expect([`${n}`, `${n}ms`, `${n}s`, `${n}m`, `${n}h`, `${n}d`].map(parseDuration)).toEqual([
          n,
          n,
          n * 1e3,
          n * 6e4,
          n * 36e5,
          n * 864e5,
        ]);
      }),
    );
    for (const text of ['', ' ', '1 s', '-1', '1w', 's', '1e3', '1.s', '.5s', '0x1', '1s1s', '١s']) {
      expect([text, parseDuration(text)]).toEqual([text, null]);
    }
    expect(parseDuration('1.5s')).toBe(1500);
  });
});

/** The token that a change falls into begins before it. */
function firstFaultLimit(text: string, at: number): number {
  const before = text.slice(0, at);
  const quote = before.lastIndexOf('"');
  const token = /[-+.0-9a-zA-Z]*$/.exec(before)?.index ?? at;
  return Math.min(quote < 0 ? at : 0, token);
}

function withResult(contentType: string, data: string): Outcome {
  const outcome: Outcome = {
    ...outcomeFor(ticketFor('any'), { status: 'completed' }),
    result: { contentType, sizeBytes: Buffer.byteLength(data), encoding: 'utf8', data },
  };
  expect(problemsOf(Outcome, outcome)).toEqual([]);
  return outcome;
}

/** Results that stand in their outcome need no store. */
const noStore = {
  result: async ({ result }: Outcome) => Buffer.from(result?.data ?? '', 'utf8'),
} as unknown as TaskStore;
