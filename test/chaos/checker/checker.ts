import type { ChaosEvent } from '../history/events.ts';
import { type Ledger, ledgerOf } from './ledger.ts';
import { CHECKS, type Violation } from './rules.ts';

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly ledger: Ledger;
}

/** Reads a history and finds all that must not be in it. */
export function check(events: Iterable<ChaosEvent>): Verdict {
  const ledger = ledgerOf(events);
  return { ledger, violations: CHECKS.flatMap((rule) => [...rule(ledger)]) };
}
