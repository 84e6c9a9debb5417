import type { Kind } from '../history/events.ts';
import type { Random } from '../run/random.ts';
import type { ArtifactId, FunctionInput } from './functions.ts';

/** What one caller is going to do to get one task run. */
export interface Plan {
  readonly request: number;
  readonly kind: Kind;
  readonly artifact: ArtifactId;
  readonly input: FunctionInput;
  readonly mode: 'sync' | 'async';
  /** How long a sync call waits, ms. */
  readonly waitMs: number | null;
  /** Further options of the call, as they stand in its query. */
  readonly options: Readonly<Record<string, string>>;
  readonly key: string | null;
  /** Calls with the same key that are sent at the same moment as the first. */
  readonly together: number;
  /** Calls with the same key that are sent when the first was answered. */
  readonly afterwards: number;
  /** The first call is given up after so long, ms, as if its answer had been lost; null for never. */
  readonly hangsUpAfterMs: number | null;
  /** The task is cancelled so long after its acceptance, ms; null for never. */
  readonly cancelAfterMs: number | null;
  /** How long each read waits for the outcome, ms. */
  readonly readWaitMs: number;
}

/** How often each kind is drawn. */
export const WEIGHTS: Readonly<Record<Kind, number>> = {
  sync: 24,
  async: 22,
  logs: 5,
  idempotent: 13,
  long: 3,
  delayed: 7,
  retried: 7,
  exhausted: 3,
  'timed-out': 5,
  cancelled: 8,
  'full-disk': 2,
  'kills-itself': 1.5,
  streamed: 6,
};

const WAITS_MS = [500, 1000, 2000, 5000, 10_000, 20_000];

/** Draws one caller's plan. */
export function drawPlan(request: number, kind: Kind, random: Random, run: string): Plan {
  const mode = kind === 'sync' ? 'sync' : kind === 'async' ? 'async' : random.pick(['sync', 'async'] as const);
  const plain: Plan = {
    request,
    kind,
    artifact: 'chaos-mixed',
    // Most tasks are short; some run long enough that any fault meets a few of them.
    input: { request, ms: random.chance(0.5) ? random.between(0, 100) : random.between(100, 2500) },
    mode,
    waitMs: mode === 'sync' ? random.pick(WAITS_MS) : null,
    options: {},
    key: null,
    together: 0,
    afterwards: 0,
    hangsUpAfterMs: null,
    cancelAfterMs: null,
    readWaitMs: random.pick([0, 1000, 5000, 10_000]),
  };
  const { input } = plain;
  switch (kind) {
    case 'sync':
    case 'async':
      return plain;
    case 'logs':
      return { ...plain, input: { ...input, logs: random.between(1, 40) } };
    case 'idempotent': {
      const how = random.pick(['together', 'afterwards', 'lost'] as const);
      return {
        ...plain,
        key: `${run}-${request}`,
        together: how === 'together' ? random.between(1, 2) : 0,
        afterwards: how === 'afterwards' ? random.between(1, 2) : 0,
        hangsUpAfterMs: how === 'lost' ? random.between(1, 60) : null,
      };
    }
    case 'long':
      return { ...plain, input: { ...input, ms: random.between(2000, 6000) } };
    case 'delayed':
      return { ...plain, options: { delay: `${random.between(100, 3000)}ms` } };
    case 'retried':
    case 'exhausted': {
      const attempts = random.between(2, 4);
      const failFirst = kind === 'exhausted' ? attempts : random.between(1, attempts - 1);
      return {
        ...plain,
        artifact: random.pick(['chaos-fixed', 'chaos-doubling']),
        input: { ...input, ms: random.between(0, 200), failFirst },
        options: { attempts: String(attempts) },
      };
    }
    case 'timed-out':
      return { ...plain, input: { ...input, ms: random.between(1000, 4000) }, options: { timeout: '200ms' } };
    case 'cancelled':
      return {
        ...plain,
        mode: 'async',
        waitMs: null,
        input: { ...input, ms: random.between(0, 1500) },
        cancelAfterMs: random.chance(0.3) ? 0 : random.between(0, 1500),
      };
    case 'full-disk':
      return { ...plain, artifact: 'chaos-disk', input: { ...input, disk: random.pick(['fill', 'leave'] as const) } };
    case 'streamed':
      return {
        ...plain,
        artifact: 'chaos-streams',
        // Named, so that it can be sent again until it is accepted.
        key: `${run}-${request}`,
        input: { ...input, ms: random.between(100, 4000), chunks: random.between(1, 200) },
        options: { detach: 'true', restart: String(random.chance(0.5)) },
      };
    case 'kills-itself':
      return {
        ...plain,
        artifact: 'chaos-dies',
        input: { ...input, dies: { how: random.pick(['exit', 'kill'] as const), chance: 0.5 } },
      };
  }
}
