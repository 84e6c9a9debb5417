import { SETTLED_STATUSES } from '@pilum/core/states/states.ts';
import { deadlineOf } from './deadlines.ts';
import { type Ledger, settledAt, type TaskStory } from './ledger.ts';
import { allowedExecutions, recoveriesExplained, recoveriesHandedOn } from './reasons.ts';

/** What a history must never show. */
export const RULES = [
  'lost-task',
  'unread-task',
  'changed-outcome',
  'late-answer',
  'second-task',
  'unexplained-execution',
  'unexplained-recovery',
  'uncounted-recovery',
  'cancel-undone',
  'unfounded-result',
  'execution-after-outcome',
  'unexpected-answer',
  'unexpected-exit',
  'broken-stream',
] as const;
export type Rule = (typeof RULES)[number];

export interface Violation {
  readonly rule: Rule;
  readonly taskId: string | null;
  readonly call: number | null;
  /** What was seen. */
  readonly text: string;
}

type Found = Generator<Violation, void, void>;

/**
 * An execution may start so long after its task was settled, ms: a worker hears of a settlement at once, or when it looks
 * at its running tasks each second, and an instance may take that long to report.
 */
const START_SLACK_MS = 2500;

const settledStatuses: ReadonlySet<string> = new Set(SETTLED_STATUSES);

const ofTask = (rule: Rule, { taskId }: TaskStory, text: string): Violation => ({ rule, taskId, call: null, text });

/** Every accepted task has an outcome, and so has every task that was begun. */
function* lostTasks({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    if (task.acceptedAt === undefined && task.starts.length === 0) continue;
    const { record } = task;
    if (record === undefined || (record.status && settledStatuses.has(record.status))) continue;
    yield ofTask('lost-task', task, `it is ${record.status ?? `unknown (HTTP ${record.http ?? 'none'})`} at the end`);
  }
}

/** Every task is read at the end: of one that was not, the run knows nothing, which is the run's fault and not Pilum's. */
function* unreadTasks({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    if ((task.acceptedAt === undefined && task.starts.length === 0) || task.record !== undefined) continue;
    yield ofTask('unread-task', task, 'nobody has read it at the end');
  }
}

/** Whoever asks for a settled task is told the same. */
function* changedOutcomes({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const first = task.outcomes[0];
    const other = task.outcomes.find(({ digest }) => digest !== first?.digest);
    if (first === undefined || other === undefined) continue;
    const show = ({ status, execution, digest }: typeof first) => `${status} ${execution ?? ''} (${digest})`;
    yield ofTask('changed-outcome', task, `${show(first)} at ${first.at}, ${show(other)} at ${other.at}`);
  }
}

/** No caller waits past its deadline by more than a second. */
function* lateAnswers(ledger: Ledger): Found {
  for (const { sent, answered } of ledger.calls.values()) {
    const { call, op, waitMs } = sent;
    if (answered === undefined) {
      yield { rule: 'late-answer', taskId: null, call, text: `${op} (wait ${waitMs} ms) was never answered` };
      continue;
    }
    const limitMs = deadlineOf(ledger, sent, answered);
    if (answered.elapsedMs <= limitMs) continue;
    const what = `${op} (wait ${waitMs} ms): ${answered.http ?? 'no answer'} after ${Math.round(answered.elapsedMs)} ms`;
    yield { rule: 'late-answer', taskId: answered.taskId, call, text: `${what}, at most ${Math.round(limitMs)} ms` };
  }
}

/** What was asked for once, or again with the same key, is one task. */
function* secondTasks({ tasks, requests }: Ledger): Found {
  const first = new Map<number, TaskStory>();
  for (const task of tasks.values()) {
    if (task.request === undefined) continue;
    const other = first.get(task.request);
    if (other === undefined) first.set(task.request, task);
    else {
      const key = requests.get(task.request)?.key;
      const what = key ? `key ${key}` : 'without a key';
      yield ofTask('second-task', task, `request ${task.request} (${what}) is task ${other.taskId} as well`);
    }
  }
}

/** A task is executed once for each of its attempts, and once more for each recovery and each time it was given back. */
function* unexplainedExecutions({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    if (task.record?.status == null) continue;
    const allowed = allowedExecutions(task);
    if (task.starts.length <= allowed.total) continue;
    const { attempts, recoveries, givenBack } = allowed;
    const reasons = `${attempts} attempts, ${recoveries} recoveries, ${givenBack} times given back`;
    yield ofTask('unexplained-execution', task, `${task.starts.length} executions for ${reasons}`);
  }
}

/** Every recovery has its reason in a log. */
function* unexplainedRecoveries({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const recoveries = task.record?.recoveries ?? 0;
    const explained = recoveriesExplained(task);
    if (recoveries <= explained) continue;
    yield ofTask('unexplained-recovery', task, `${recoveries} recoveries, and ${explained} reasons`);
  }
}

/** Recoveries are counted over all workers that have had the task. One that is ended from outside has no count. */
function* uncountedRecoveries({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const { status, recoveries = 0 } = task.record ?? {};
    const handedOn = recoveriesHandedOn(task);
    if ((status !== 'completed' && status !== 'failed') || recoveries >= handedOn) continue;
    const text = `${recoveries} recoveries on record; workers that gave it back had run it again ${handedOn} times`;
    yield ofTask('uncounted-recovery', task, text);
  }
}

/** What was cancelled stays cancelled. */
function* undoneCancels({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const cancelled = task.cancelConfirmed || task.outcomes.some(({ status }) => status === 'cancelled');
    const { status } = task.record ?? {};
    if (!cancelled || status == null || status === 'cancelled') continue;
    yield ofTask('cancel-undone', task, `a caller was told that it is cancelled, and it is ${status}`);
  }
}

/** The result of a completed task is that of an execution which came to its end. */
function* unfoundedResults({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const ended = new Set(task.ends.map(({ execution }) => execution));
    for (const { status, execution } of task.outcomes) {
      if (status !== 'completed' || (execution !== null && ended.has(execution))) continue;
      yield ofTask('unfounded-result', task, `completed with the result of ${execution}, which never ended`);
      break;
    }
  }
}

/** A settled task is not begun again, unless by a worker that says that it was late. */
function* executionsAfterOutcome({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    const settled = settledAt(task);
    if (settled === undefined) continue;
    for (const { at, execution } of task.starts) {
      if (at <= settled + START_SLACK_MS || task.said.some(({ statement }) => statement === 'late')) continue;
      yield ofTask('execution-after-outcome', task, `${execution} started ${at - settled} ms after it was settled`);
    }
  }
}

/** An answer that nothing in the run can be the reason for. */
function* unexpectedAnswers({ calls }: Ledger): Found {
  for (const { sent, answered } of calls.values()) {
    if (answered?.http == null) continue;
    const { call, http, code, taskId } = answered;
    const isUnknown = http === 404 || http === 400 || http === 501 || (http === 409 && sent.op === 'invoke');
    // A cancelled call is answered 409 with its envelope; anything else that is refused with 409 is a mistake.
    if (http !== 500 && !(isUnknown && answered.status === null)) continue;
    yield { rule: 'unexpected-answer', taskId, call, text: `${sent.op} was answered ${http} ${code ?? ''}` };
  }
}

/** A reader of a stream gets each frame once and in order, and all of them where the task has completed. */
function* brokenStreams({ tasks }: Ledger): Found {
  for (const task of tasks.values()) {
    for (const { fault, status, chunks, expected, frames, connections } of task.streams) {
      const seen = `${frames} frames over ${connections} connections`;
      if (fault !== null) yield ofTask('broken-stream', task, `${fault}, after ${seen}`);
      else if (status === 'completed' && chunks !== expected) {
        yield ofTask('broken-stream', task, `completed with ${chunks} of ${expected} chunks, in ${seen}`);
      } else if (status !== null && task.record?.status != null && status !== task.record.status) {
        yield ofTask('broken-stream', task, `its end says ${status}, and it is ${task.record.status}`);
      }
    }
  }
}

/** A process ends when it is asked to, with exit code 0, or because it was killed. */
function* unexpectedExits({ exits }: Ledger): Found {
  for (const { part, how, asked } of exits) {
    if ((asked === 'stop' && how === '0') || (asked === 'kill' && how === 'SIGKILL')) continue;
    const text = `${part} ended with ${how}, ${asked === null ? 'unasked' : `asked to ${asked}`}`;
    yield { rule: 'unexpected-exit', taskId: null, call: null, text };
  }
}

/** All rules. */
export const CHECKS: readonly ((ledger: Ledger) => Found)[] = [
  lostTasks,
  unreadTasks,
  changedOutcomes,
  lateAnswers,
  secondTasks,
  unexplainedExecutions,
  unexplainedRecoveries,
  uncountedRecoveries,
  undoneCancels,
  unfoundedResults,
  executionsAfterOutcome,
  unexpectedAnswers,
  unexpectedExits,
  brokenStreams,
];
