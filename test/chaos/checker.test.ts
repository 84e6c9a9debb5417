import { describe, expect, it } from 'vitest';
import { check } from './checker/checker.ts';
import type { Rule } from './checker/rules.ts';
import type { ChaosEvent, EventOf } from './history/events.ts';

const T = 'mixed.01';

const request = (changes: Partial<EventOf<'request'>> = {}): ChaosEvent => ({
  type: 'request',
  at: 1000,
  request: 1,
  kind: 'sync',
  key: null,
  ...changes,
});
const sent = (changes: Partial<EventOf<'sent'>> = {}): ChaosEvent => ({
  type: 'sent',
  at: 1000,
  call: 1,
  request: 1,
  op: 'invoke',
  waitMs: 2000,
  ...changes,
});
const answered = (changes: Partial<EventOf<'answered'>> = {}): ChaosEvent => ({
  type: 'answered',
  at: 1100,
  call: 1,
  http: 200,
  taskId: T,
  status: 'completed',
  code: null,
  replayed: false,
  elapsedMs: 100,
  ...changes,
});
const outcome = (changes: Partial<EventOf<'outcome'>> = {}): ChaosEvent => ({
  type: 'outcome',
  at: 1100,
  taskId: T,
  status: 'completed',
  code: null,
  digest: 'd1',
  execution: 'x1',
  ...changes,
});
const report = (type: 'start' | 'end', changes: Partial<EventOf<'start'>> = {}): ChaosEvent =>
  ({ type, at: 1050, taskId: T, request: 1, attempt: 1, execution: 'x1', ...changes }) as ChaosEvent;
const record = (changes: Partial<EventOf<'record'>> = {}): ChaosEvent => ({
  type: 'record',
  at: 9000,
  taskId: T,
  http: 200,
  status: 'completed',
  attempts: 1,
  recoveries: 0,
  createdAtMs: 1001,
  finishedAtMs: 1090,
  ...changes,
});
const stream = (changes: Partial<EventOf<'stream'>> = {}): ChaosEvent => ({
  type: 'stream',
  at: 1200,
  taskId: T,
  request: 1,
  restart: false,
  connections: 2,
  frames: 10,
  chunks: 10,
  expected: 10,
  status: 'completed',
  fault: null,
  ...changes,
});
const said = (changes: Partial<EventOf<'said'>> = {}): ChaosEvent => ({
  type: 'said',
  at: 1060,
  statement: 'run-again',
  taskIds: [T],
  recovery: 1,
  reason: 'its worker stopped renewing its claim on it',
  source: 'worker-1',
  ...changes,
});
const redisKill: ChaosEvent[] = [
  { type: 'fault-begin', at: 900, fault: 1, kind: 'redis-kill', target: 'redis' },
  { type: 'fault-end', at: 4000, fault: 1 },
];

const plain = [request(), sent(), report('start'), report('end'), answered(), outcome(), record()];

/** A plain history with some of its events in another form, and some more. */
const but = (changes: Partial<Record<ChaosEvent['type'], ChaosEvent[]>>, ...more: ChaosEvent[]): ChaosEvent[] => [
  ...plain.flatMap((event) => changes[event.type] ?? [event]),
  ...more,
];

const rulesBroken = (events: ChaosEvent[]): Rule[] => check(events).violations.map(({ rule }) => rule);

describe('a history without a fault in it', () => {
  it.each<[string, ChaosEvent[]]>([
    ['is one of a plain call', plain],
    [
      'may have a second execution that a worker gave a reason for',
      but({ record: [record({ recoveries: 1 })] }, report('start', { execution: 'x2' }), said()),
    ],
    ['may have a stream that was read over many connections', but({}, stream({ connections: 9 }))],
    [
      'may have a stream that its reader has left, or that ended in its middle',
      but(
        { outcome: [], record: [record({ status: 'failed' })] },
        stream({ status: null, chunks: 3 }),
        stream({ status: 'failed', chunks: 3 }),
      ),
    ],
    [
      'may have a recovery that only the housekeeper told of',
      but(
        { record: [record({ recoveries: 1 })] },
        report('start', { execution: 'x2' }),
        said({ statement: 'taken-from-dead-worker', recovery: null, reason: '' }),
      ),
    ],
    [
      'may have an execution for each attempt',
      but({ record: [record({ attempts: 2 })] }, report('start', { execution: 'x0', attempt: 1 })),
    ],
    [
      'may have an execution more where a worker that stopped gave the task back',
      but({}, report('start', { execution: 'x0' }), said({ statement: 'given-back', recovery: null, reason: '' })),
    ],
    [
      'may have a late execution that was said to be late',
      but(
        {},
        report('start', { execution: 'x2', at: 20_000 }),
        said(),
        said({ statement: 'late', recovery: null, reason: '' }),
      ),
    ],
    [
      'may have a repeat that was answered with the first task',
      but(
        { request: [request({ key: 'k' })] },
        sent({ call: 2 }),
        answered({ call: 2, replayed: true }),
        outcome({ at: 1200 }),
      ),
    ],
    [
      'may have a call whose connection broke',
      [request(), sent(), answered({ http: null, taskId: null, status: null })],
    ],
    [
      'may have an answer after 5 s while Redis is away',
      [
        ...redisKill,
        request(),
        sent({ waitMs: 500 }),
        answered({ at: 6500, http: 503, taskId: null, status: null, code: 'REDIS_UNAVAILABLE', elapsedMs: 5500 }),
      ],
    ],
    [
      'may have an answer that is late because the harness was',
      but({ answered: [answered({ at: 4500, elapsedMs: 3500 })] }, { type: 'lag', at: 4400, lagMs: 900 }),
    ],
    [
      'may have a cancelled task with an execution that its outcome does not know',
      [
        request({ kind: 'cancelled' }),
        sent({ waitMs: null }),
        answered({ http: 202, status: 'pending' }),
        report('start'),
        sent({ call: 2, op: 'cancel', waitMs: null }),
        answered({ call: 2, status: 'cancelled' }),
        outcome({ status: 'cancelled', execution: null }),
        record({ status: 'cancelled', attempts: 0 }),
      ],
    ],
  ])('%s', (_, events) => {
    expect(check(events).violations).toEqual([]);
  });
});

describe('a history with one fault planted in it', () => {
  it.each<[string, Rule, ChaosEvent[]]>([
    ['a task that is pending at the end', 'lost-task', but({ record: [record({ status: 'pending' })] })],
    ['a stream with a frame twice', 'broken-stream', but({}, stream({ fault: 'frame 3 came after frame 3' }))],
    ['a stream that completed without all of its chunks', 'broken-stream', but({}, stream({ chunks: 9 }))],
    ['a stream with an end that is not its task’s', 'broken-stream', but({}, stream({ status: 'failed' }))],
    ['a task that nobody knows any more', 'lost-task', but({ record: [record({ status: null, http: 404 })] })],
    ['an accepted task that nobody read at the end', 'unread-task', but({ record: [] })],
    ['another outcome', 'changed-outcome', but({}, outcome({ at: 8000, digest: 'd2' }))],
    ['an answer after the wait was over', 'late-answer', but({ answered: [answered({ at: 4100, elapsedMs: 3100 })] })],
    ['a call that was never answered', 'late-answer', [request(), sent()]],
    [
      'an answer 6 s after Redis went away',
      'late-answer',
      [
        ...redisKill,
        request(),
        sent({ waitMs: 500 }),
        answered({ at: 7500, http: 503, taskId: null, status: null, elapsedMs: 6500 }),
      ],
    ],
    [
      'a repeat that became a task of its own',
      'second-task',
      but(
        { request: [request({ key: 'k' })] },
        sent({ call: 2 }),
        answered({ call: 2, taskId: 'mixed.02' }),
        record({ taskId: 'mixed.02' }),
      ),
    ],
    [
      'a repeat that was executed as a task of its own, though no caller heard of it',
      'second-task',
      but({}, report('start', { taskId: 'mixed.02' }), record({ taskId: 'mixed.02' })),
    ],
    ['a second execution', 'unexplained-execution', but({}, report('start', { execution: 'x2' }))],
    [
      'a second execution with a recovery on record that nobody gave a reason for',
      'unexplained-recovery',
      but({ record: [record({ recoveries: 1 })] }, report('start', { execution: 'x2' })),
    ],
    [
      'a second recovery with the reason of the first',
      'unexplained-recovery',
      but({ record: [record({ recoveries: 2 })] }, said(), said({ source: 'log' })),
    ],
    [
      'a recovery by a worker that gave the task back, and nobody counted on',
      'uncounted-recovery',
      but(
        {},
        report('start', { execution: 'x2' }),
        report('start', { execution: 'x3' }),
        said(),
        said({ statement: 'given-back', recovery: null, reason: '' }),
      ),
    ],
    [
      'a cancelled task that completed',
      'cancel-undone',
      but({}, sent({ call: 2, op: 'cancel', waitMs: null }), answered({ call: 2, status: 'cancelled' })),
    ],
    ['a result that no execution came to', 'unfounded-result', but({ end: [] })],
    ['a result of another execution', 'unfounded-result', but({ outcome: [outcome({ execution: 'x9' })] })],
    [
      'an execution of a task that was settled long ago',
      'execution-after-outcome',
      but({ record: [record({ attempts: 2 })] }, report('start', { execution: 'x2', at: 20_000 })),
    ],
    [
      'an internal error',
      'unexpected-answer',
      [request(), sent(), answered({ http: 500, taskId: null, status: null, code: 'INTERNAL' })],
    ],
    [
      'an accepted task that is not found',
      'unexpected-answer',
      but(
        {},
        sent({ call: 2, op: 'read', waitMs: 0 }),
        answered({ call: 2, http: 404, status: null, code: 'TASK_NOT_FOUND' }),
      ),
    ],
    [
      'a worker that ended by itself',
      'unexpected-exit',
      but({}, { type: 'exit', at: 2000, part: 'worker-1-1', how: '1', asked: null }),
    ],
    [
      'a worker that had to be killed because it did not stop',
      'unexpected-exit',
      but({}, { type: 'exit', at: 2000, part: 'worker-1-1', how: 'SIGKILL', asked: 'stop' }),
    ],
  ])('fails for %s: %s', (_, rule, events) => {
    expect(rulesBroken(events)).toEqual([rule]);
  });
});
