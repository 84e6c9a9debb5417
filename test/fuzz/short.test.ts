import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runTarget } from './run-target.ts';
import { loadTarget, targetNames } from './target.ts';

describe('whatever is sent', () => {
  for (const name of targetNames()) {
    it(`${name} holds, for some inputs`, { timeout: 60_000 }, async () => {
      const { failure } = await runTarget(await loadTarget(name), { seed: 1, forMs: null, inputs: 100 });
      expect(failure?.report).toBeUndefined();
    });
  }

  it('a failure is told so that it can be had again', async () => {
    const property = fc.asyncProperty(fc.nat(), async (number) => number < 1000);
    const target = { name: 'fails', holds: '', open: async () => ({ property, close: async () => undefined }) };
    const { failure } = await runTarget(target, { seed: 7, forMs: null, inputs: 100 });
    expect(failure).toMatchObject({ seed: 7, report: expect.stringContaining('Counterexample: [1000]') });
    const again = await runTarget(target, { seed: 7, path: failure?.path ?? '', forMs: null, inputs: 100 });
    expect(again.failure?.report).toContain('Counterexample: [1000]');
  });
});
