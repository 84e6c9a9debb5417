import { ERROR_TABLE, type ErrorCode } from '@pilum/core/errors/error-table.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, isRetryable, nextTicket, ticketOfNextStart } from '../../apps/worker/src/tasks/retry.ts';
import { ticketFor } from '../support/tasks.ts';

const backoff = fc.record({
  type: fc.constantFrom('fixed' as const, 'exponential' as const),
  delayMs: fc.nat({ max: 86_400_000 }),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
});
const attempt = fc.integer({ min: 1, max: 100 });
const random = fc.double({ min: 0, max: 1, noNaN: true });

describe('the pause before another attempt', () => {
  it('is never negative, and never longer than an hour or the delay itself', () => {
    fc.assert(
      fc.property(backoff, attempt, random, (given, n, chance) => {
        const pause = backoffMs(given, n, chance);
        expect(pause).toBeGreaterThanOrEqual(0);
        expect(pause).toBeLessThanOrEqual(Math.max(given.delayMs, 3_600_000));
        expect(Number.isInteger(pause)).toBe(true);
      }),
    );
  });

  it('doubles, or stays, and jitter only shortens it', () => {
    const plain = { type: 'exponential' as const, delayMs: 100, jitter: 0 };
    expect([1, 2, 3, 4].map((n) => backoffMs(plain, n, 0.7))).toEqual([100, 200, 400, 800]);
    expect([1, 2, 3].map((n) => backoffMs({ ...plain, type: 'fixed' }, n, 0.7))).toEqual([100, 100, 100]);
    expect(backoffMs({ ...plain, jitter: 0.5 }, 2, 1)).toBe(100);
    expect(backoffMs({ ...plain, jitter: 1 }, 2, 1)).toBe(0);
  });

  it('grows with each attempt where nothing is left to chance', () => {
    fc.assert(
      fc.property(backoff, attempt, (given, n) => {
        expect(backoffMs(given, n + 1, 0)).toBeGreaterThanOrEqual(backoffMs(given, n, 0));
      }),
    );
  });
});

describe('whether another attempt follows', () => {
  it('is what the table of errors says, but for what is no attempt of its own', () => {
    for (const code of Object.keys(ERROR_TABLE) as ErrorCode[]) {
      const isFinal = code === 'QUEUE_TIMEOUT' || code === 'INSTANCE_LOST';
      expect(isRetryable(code), code).toBe(ERROR_TABLE[code].retryable && !isFinal);
    }
  });

  it('is written into the next ticket, and nothing else of it changes', () => {
    const ticket = ticketFor('hello', { maxAttempts: 3 });
    expect(nextTicket(ticket, 0, 1, 5000)).toEqual({ ...ticket, attempt: 2, dueAtMs: 5000 });
    expect(nextTicket(ticket, 2, 2, 5000)).toEqual({ ...ticket, attempt: 3, dueAtMs: 5000, stalls: 2 });
    // What an attempt waited for an instance is not taken from the next one.
    const waited = ticketOfNextStart(ticket, 0, ticket.dueAtMs + 10)!;
    expect(nextTicket(waited, 0, 1, 5000)).toEqual({ ...ticket, attempt: 2, dueAtMs: 5000 });
  });
});
