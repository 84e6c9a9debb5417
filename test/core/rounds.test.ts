import { Rounds } from '@pilum/core/async/rounds.ts';
import { expect, it } from 'vitest';
import { waitFor } from '../support/wait-for.ts';

it('goes the next round after one that failed, and never two at once', async () => {
  const errors: unknown[] = [];
  let going = 0;
  let most = 0;
  let gone = 0;
  const rounds = new Rounds(
    async () => {
      going += 1;
      most = Math.max(most, going);
      await new Promise((resolve) => setTimeout(resolve, 5));
      going -= 1;
      gone += 1;
      throw new Error(`round ${gone}`);
    },
    { everyMs: 1, onError: (error) => errors.push(error) },
  );
  rounds.open(0);
  await Promise.all([rounds.now(), rounds.now()]);
  await waitFor(() => gone >= 3, { what: 'a third round' });
  await rounds.close();
  expect(most).toBe(1);
  expect(errors).toHaveLength(gone);
});

it('closes when the round that is under way is over, and stays closed', async () => {
  const begun = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  let gone = 0;
  const rounds = new Rounds(
    async () => {
      begun.resolve();
      await held.promise;
      gone += 1;
    },
    { everyMs: 1, onError: () => undefined },
  );
  rounds.open(0);
  await begun.promise;
  const closed = rounds.close();
  held.resolve();
  await closed;
  expect(gone).toBe(1);
  rounds.open(0);
  await rounds.now();
  await rounds.close();
  expect(gone).toBe(1);
});
