import type { ChaosEvent, EventOf, FaultKind, Kind } from '../history/events.ts';

/** All that a history tells of one task. */
export interface TaskStory {
  readonly taskId: string;
  /** What the caller wanted; undefined for a task that no call and no execution names. */
  request: number | undefined;
  /** When a caller was first told of it, ms since 1970; undefined where no answer came through. */
  acceptedAt: number | undefined;
  /** A caller was told that it is cancelled. */
  cancelConfirmed: boolean;
  readonly outcomes: EventOf<'outcome'>[];
  readonly starts: EventOf<'start'>[];
  readonly ends: EventOf<'end'>[];
  readonly said: EventOf<'said'>[];
  readonly streams: EventOf<'stream'>[];
  record: EventOf<'record'> | undefined;
}

/** One call and what became of it. */
export interface CallStory {
  readonly sent: EventOf<'sent'>;
  answered: EventOf<'answered'> | undefined;
}

export interface FaultStory {
  readonly fault: number;
  readonly kind: FaultKind;
  readonly target: string;
  readonly beganAt: number;
  endedAt: number | undefined;
  probedAt: number | undefined;
}

/** A history by what it tells of. */
export interface Ledger {
  readonly requests: ReadonlyMap<number, EventOf<'request'>>;
  readonly tasks: ReadonlyMap<string, TaskStory>;
  readonly calls: ReadonlyMap<number, CallStory>;
  readonly faults: ReadonlyMap<number, FaultStory>;
  readonly exits: readonly EventOf<'exit'>[];
  readonly lags: readonly EventOf<'lag'>[];
}

/** What kind of task a story is of. */
export function kindOf(ledger: Ledger, task: TaskStory): Kind | undefined {
  return task.request === undefined ? undefined : ledger.requests.get(task.request)?.kind;
}

/** When Pilum says that a task was settled, ms since 1970. */
export function settledAt(task: TaskStory): number | undefined {
  return task.record?.finishedAtMs ?? undefined;
}

/** Sorts the events of a history by task, call and fault. */
export function ledgerOf(events: Iterable<ChaosEvent>): Ledger {
  const requests = new Map<number, EventOf<'request'>>();
  const tasks = new Map<string, TaskStory>();
  const calls = new Map<number, CallStory>();
  const faults = new Map<number, FaultStory>();
  const exits: EventOf<'exit'>[] = [];
  const lags: EventOf<'lag'>[] = [];
  const taskOf = (taskId: string) => {
    const known = tasks.get(taskId);
    if (known !== undefined) return known;
    const task = newStory(taskId);
    tasks.set(taskId, task);
    return task;
  };
  for (const event of events) {
    switch (event.type) {
      case 'request':
        requests.set(event.request, event);
        break;
      case 'sent':
        calls.set(event.call, { sent: event, answered: undefined });
        break;
      case 'answered': {
        const call = calls.get(event.call);
        if (call === undefined) break;
        call.answered = event;
        if (event.taskId === null || event.status === null) break;
        const task = taskOf(event.taskId);
        if (isOfLoad(call.sent.request)) task.request ??= call.sent.request;
        task.acceptedAt ??= event.at;
        if (call.sent.op === 'cancel' && event.http === 200) task.cancelConfirmed = true;
        break;
      }
      case 'outcome':
        taskOf(event.taskId).outcomes.push(event);
        break;
      case 'stream': {
        const task = taskOf(event.taskId);
        task.request ??= event.request;
        task.acceptedAt ??= event.at;
        task.streams.push(event);
        break;
      }
      case 'start': {
        const task = taskOf(event.taskId);
        if (isOfLoad(event.request)) task.request ??= event.request;
        task.starts.push(event);
        break;
      }
      case 'end':
        taskOf(event.taskId).ends.push(event);
        break;
      case 'said':
        for (const taskId of event.taskIds) taskOf(taskId).said.push(event);
        break;
      case 'record':
        taskOf(event.taskId).record = event;
        break;
      case 'fault-begin': {
        const { fault, kind, target, at } = event;
        faults.set(fault, { fault, kind, target, beganAt: at, endedAt: undefined, probedAt: undefined });
        break;
      }
      case 'fault-end': {
        const fault = faults.get(event.fault);
        if (fault !== undefined) fault.endedAt = event.at;
        break;
      }
      case 'probe': {
        const fault = faults.get(event.fault);
        if (fault !== undefined) fault.probedAt = event.at;
        break;
      }
      case 'exit':
        exits.push(event);
        break;
      case 'lag':
        lags.push(event);
        break;
    }
  }
  return { requests, tasks, calls, faults, exits, lags };
}

/** Requests below are probes: a probe asks as often as it has to, and without a key. */
const isOfLoad = (request: number) => request > 0;

function newStory(taskId: string): TaskStory {
  return {
    taskId,
    request: undefined,
    acceptedAt: undefined,
    cancelConfirmed: false,
    outcomes: [],
    starts: [],
    ends: [],
    said: [],
    streams: [],
    record: undefined,
  };
}
