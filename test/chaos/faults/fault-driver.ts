import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../support/wait-for.ts';
import type { FaultKind } from '../history/events.ts';
import type { History } from '../history/history.ts';
import type { HttpClient } from '../load/http-client.ts';
import type { Cluster } from '../parts/cluster.ts';
import type { Progress } from '../run/progress.ts';
import type { Random } from '../run/random.ts';
import { STRIKES } from './faults.ts';
import type { Blow } from './schedule.ts';

/** The next blow does not wait any longer for the recovery from the last, ms. */
const RECOVERY_LIMIT_MS = 45_000;
/** How long a probe waits for its result, ms. */
const PROBE_WAIT_MS = 3000;
const PROBE_INTERVAL_MS = 200;

export interface DriverParts {
  readonly cluster: Cluster;
  readonly client: HttpClient;
  readonly history: History;
  readonly progress: Progress;
  readonly random: Random;
}

/** Strikes, waits until Pilum has recovered, and strikes again. */
export class FaultDriver {
  readonly #parts: DriverParts;
  #faults = 0;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  /** Goes through a schedule; resolves when the last fault of it is over and recovered from, or at once at `signal`. */
  async run(blows: readonly Blow[], signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    for (const blow of blows) {
      if (signal.aborted) return;
      const struck = this.#strikeAll(blow);
      struck.catch(() => undefined); // nobody hears of it where the run is ended
      await Promise.race([struck, aborted]);
    }
  }

  async #strikeAll({ kinds, gapMs, calmMs }: Blow): Promise<void> {
    const { progress } = this.#parts;
    const inFlight = progress.unsettledMeasured();
    await Promise.all(
      kinds.map(async (kind, index) => {
        await sleep(index * gapMs);
        await this.#strike(kind);
      }),
    );
    await waitFor(() => inFlight.every((request) => progress.isSettled(request)), {
      timeoutMs: RECOVERY_LIMIT_MS,
      everyMs: 100,
    }).catch(() => undefined); // the checker says what it thinks of that
    await sleep(calmMs);
  }

  /** One fault, from its blow until it is over and a fresh call gets its result. */
  async #strike(kind: FaultKind): Promise<void> {
    const { cluster, random, history } = this.#parts;
    const fault = ++this.#faults;
    const beganAt = Date.now();
    const { target, over } = await STRIKES[kind](cluster, random);
    history.write({ type: 'fault-begin', at: beganAt, fault, kind, target });
    await Promise.all([
      over.then(() => history.write({ type: 'fault-end', at: Date.now(), fault })),
      this.#probe(fault),
    ]);
  }

  async #probe(fault: number): Promise<void> {
    const { client, history } = this.#parts;
    const probe = async () => {
      const answer = await client.call({
        method: 'POST',
        path: `/v1/artifacts/chaos-probe/invoke?wait=${PROBE_WAIT_MS}ms`,
        body: JSON.stringify({ request: -fault, ms: 0 }),
        giveUpAfterMs: PROBE_WAIT_MS + 5000,
      });
      return answer.http === 200;
    };
    const isBack = await waitFor(probe, { timeoutMs: RECOVERY_LIMIT_MS, everyMs: PROBE_INTERVAL_MS }).catch(
      () => false,
    );
    if (isBack) history.write({ type: 'probe', at: Date.now(), fault });
  }
}
