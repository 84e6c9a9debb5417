import { randomInt } from 'node:crypto';

/** The largest limit that `randomInt` takes. */
const MOST = 2 ** 48 - 1;

/**
 * A number for a call, which nobody can guess who was not told of that call: what an earlier one has left behind holds the same
 * channel, and would answer in its stead. 0 is no such number.
 * @param below an engine takes smaller ones only
 * @param isTaken says that a number is in use
 */
export function callNumber(below: number = MOST, isTaken: (id: number) => boolean = () => false): number {
  for (;;) {
    const id = randomInt(1, below);
    if (!isTaken(id)) return id;
  }
}
