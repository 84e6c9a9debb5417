import { describe, expect, it } from 'vitest';
import { isSick } from '../../apps/worker/src/pool/health-verdict.ts';

/** Asks an instance whose answers, and what each of them takes, are written down; the last one stands for all further. */
async function verdictOn(answers: readonly (readonly [isWell: boolean, tookMs: number])[]) {
  let nowMs = 0;
  let asked = 0;
  const sick = await isSick(
    (withinMs) => {
      const [isWell, tookMs] = answers[Math.min(asked++, answers.length - 1)] ?? [true, 0];
      nowMs += tookMs;
      return Promise.resolve(isWell && tookMs <= withinMs);
    },
    () => nowMs,
  );
  return { sick, asked };
}

describe('an idle instance', () => {
  it('that answers is well, and is asked once', async () => {
    expect(await verdictOn([[true, 3]])).toEqual({ sick: false, asked: 1 });
  });

  it('is sick when it has not answered twice', async () => {
    expect(await verdictOn([[false, 1001]])).toEqual({ sick: true, asked: 2 });
    // Gone: the answer is no, and it comes at once.
    expect(await verdictOn([[false, 0]])).toEqual({ sick: true, asked: 2 });
  });

  it('is well when it answers to the second ask', async () => {
    const answers = [[false, 1001] as const, [true, 400] as const];
    expect(await verdictOn(answers)).toEqual({ sick: false, asked: 2 });
  });

  it('is not judged by an ask during which the machine was held up', async () => {
    const heldUp = [false, 5000] as const;
    expect(await verdictOn([heldUp, heldUp, [true, 1]])).toEqual({ sick: false, asked: 3 });
    expect(await verdictOn([heldUp])).toEqual({ sick: false, asked: 4 });
    // The machine is well again, and the instance is not.
    expect(await verdictOn([heldUp, [false, 1001]])).toEqual({ sick: true, asked: 3 });
  });
});
