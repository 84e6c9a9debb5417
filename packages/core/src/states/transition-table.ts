/** For each state, the states that may follow it. */
export type TransitionTable<S extends string> = { readonly [From in S]: readonly S[] };

/** Thrown where code asks for a transition that its table does not have: a defect of ours, never a user's mistake. */
export class IllegalTransition extends Error {
  constructor(noun: string, from: string, to: string) {
    super(`${noun} cannot go from ${from} to ${to}`);
    this.name = 'IllegalTransition';
  }
}

/**
 * Returns `to` if the table allows it after `from`.
 * @throws IllegalTransition where it does not.
 */
export function transition<S extends string>(noun: string, table: TransitionTable<S>, from: S, to: S): S {
  // A state that was read may be one of a newer release, which has no row.
  const following: readonly S[] | undefined = table[from];
  if (following?.includes(to) !== true) throw new IllegalTransition(noun, from, to);
  return to;
}
