import { SETTLED_STATUSES } from '@pilum/core/states/states.ts';
import type { ChaosEvent, FaultKind, Kind } from '../history/events.ts';
import { MEASURED_KINDS } from '../history/events.ts';

const settledStatuses: ReadonlySet<string> = new Set(SETTLED_STATUSES);

/** How far a run is, as far as its callers know. */
export class Progress {
  readonly #unsettled = new Map<number, Kind>();
  readonly #requestOf = new Map<string, number>();
  readonly #requestOfCall = new Map<number, number>();
  readonly #faults = new Map<FaultKind, number>();
  #requests = 0;
  #settled = 0;
  #unknown = 0;
  #executions = 0;

  /** Takes note of one event of the history. */
  readonly note = (event: ChaosEvent): void => {
    switch (event.type) {
      case 'request':
        this.#requests++;
        this.#unsettled.set(event.request, event.kind);
        break;
      case 'sent':
        this.#requestOfCall.set(event.call, event.request);
        break;
      case 'answered': {
        const request = this.#requestOfCall.get(event.call) ?? -1;
        this.#requestOfCall.delete(event.call);
        if (event.taskId !== null && event.status !== null) this.#requestOf.set(event.taskId, request);
        if (event.status !== null && settledStatuses.has(event.status) && this.#unsettled.delete(request)) {
          this.#settled++;
        }
        break;
      }
      case 'start':
        this.#executions++;
        this.#requestOf.set(event.taskId, event.request);
        break;
      // A reader of a stream has its task from the head of the answer, before there is an execution.
      case 'stream':
        this.#requestOf.set(event.taskId, event.request);
        break;
      case 'fault-begin':
        this.#faults.set(event.kind, (this.#faults.get(event.kind) ?? 0) + 1);
        break;
    }
  };

  /** The caller of a request has left without knowing what became of it. */
  leave(request: number): void {
    if (this.#unsettled.delete(request)) this.#unknown++;
  }

  isSettled(request: number): boolean {
    return !this.#unsettled.has(request);
  }

  /** Requests without an outcome whose tasks say how fast Pilum recovers. */
  unsettledMeasured(): number[] {
    return [...this.#unsettled].filter(([, kind]) => MEASURED_KINDS.has(kind)).map(([request]) => request);
  }

  /** Every task that a caller or a function has named, and its request. */
  get tasks(): ReadonlyMap<string, number> {
    return this.#requestOf;
  }

  get open(): number {
    return this.#unsettled.size;
  }

  /** One line for the eye. */
  toString(): string {
    const faults = [...this.#faults].map(([kind, count]) => `${kind} ${count}`).join(', ');
    return (
      `${this.#requests} requests: ${this.#settled} settled, ${this.#unknown} unknown, ${this.#unsettled.size} open; ` +
      `${this.#executions} executions; faults: ${faults || 'none'}`
    );
  }
}
