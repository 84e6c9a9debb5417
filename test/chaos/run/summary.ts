import type { Verdict } from '../checker/checker.ts';
import { type FaultStory, kindOf, type Ledger, settledAt } from '../checker/ledger.ts';
import { recoveriesExplained } from '../checker/reasons.ts';
import { type Kind, MEASURED_KINDS } from '../history/events.ts';

/** The goal for the time to recover from a fault, ms. */
const RECOVERY_GOAL_MS = 15_000;
/** Violations that are shown in full. */
const SHOWN = 20;

/** What a person wants to know of a run. */
export function summaryOf({ ledger, violations }: Verdict): string {
  const sections = [
    table(
      'Tasks',
      ['kind', 'requests', 'tasks', 'executions', 'completed', 'failed', 'timeout', 'cancelled'],
      kinds(ledger),
    ),
    table('Calls', ['operation', 'calls', 'slowest ms', 'no answer', '503', 'replayed'], calls(ledger)),
    table(
      `Faults, and the time until a fresh call got its result and all ${[...MEASURED_KINDS].join(', ')} tasks of that moment were settled`,
      ['kind', 'times', 'alone', 'slowest alone ms', 'paired', 'slowest paired ms'],
      faults(ledger),
    ),
    table('Ends that the caller did not ask for', ['kind', 'end', 'tasks'], unplanned(ledger)),
    table('Extra executions', ['reason', 'tasks'], extras(ledger)),
    table(
      'Violations',
      ['rule', 'found'],
      [...countBy(violations, ({ rule }) => rule)].map(([rule, found]) => [rule, found]),
    ),
  ];
  const shown = violations.slice(0, SHOWN).map(({ rule, taskId, call, text }) => {
    const where = [taskId, call === null ? null : `call ${call}`].filter((part) => part !== null).join(', ');
    return `  ${rule}${where === '' ? '' : ` (${where})`}: ${text}`;
  });
  const more = violations.length > SHOWN ? [`  … and ${violations.length - SHOWN} more`] : [];
  return [...sections, `${violations.length} violations`, ...shown, ...more].join('\n');
}

type Row = readonly (string | number)[];

function kinds(ledger: Ledger): Row[] {
  const rows = new Map<string, number[]>();
  const rowOf = (kind: string) => {
    const row = rows.get(kind) ?? [0, 0, 0, 0, 0, 0, 0];
    rows.set(kind, row);
    return row;
  };
  const add = (row: number[], column: number, count: number) => {
    row[column] = (row[column] ?? 0) + count;
  };
  for (const { kind } of ledger.requests.values()) for (const name of [kind, 'all']) add(rowOf(name), 0, 1);
  for (const task of ledger.tasks.values()) {
    const status = task.record?.status ?? '';
    const column = ['completed', 'failed', 'timeout', 'cancelled'].indexOf(status);
    for (const name of [kindOf(ledger, task) ?? 'probe', 'all']) {
      add(rowOf(name), 1, 1);
      add(rowOf(name), 2, task.starts.length);
      if (column >= 0) add(rowOf(name), 3 + column, 1);
    }
  }
  return [...rows].sort(([a], [b]) => Number(a === 'all') - Number(b === 'all')).map(([kind, row]) => [kind, ...row]);
}

function calls(ledger: Ledger): Row[] {
  const stories = [...ledger.calls.values()];
  return ['invoke', 'read', 'cancel'].map((op) => {
    const answers = stories.filter(({ sent }) => sent.op === op).map(({ answered }) => answered);
    const slowest = answers.reduce((most, answered) => Math.max(most, answered?.elapsedMs ?? 0), 0);
    const count = (condition: (answered: NonNullable<(typeof answers)[number]>) => boolean) =>
      answers.filter((answered) => answered !== undefined && condition(answered)).length;
    const broken = count(({ http }) => http === null);
    return [op, answers.length, slowest, broken, count(({ http }) => http === 503), count(({ replayed }) => replayed)];
  });
}

function faults(ledger: Ledger): Row[] {
  const all = [...ledger.faults.values()];
  const recoveries = new Map(all.map((fault) => [fault, recoveryMs(ledger, fault)]));
  return [...Map.groupBy(all, ({ kind }) => kind)].map(([kind, ofKind]) => {
    const [paired = [], alone = []] = [true, false].map((wanted) =>
      ofKind.filter((fault) => isPaired(all, fault) === wanted),
    );
    const slowest = (some: FaultStory[]) =>
      some.length === 0
        ? '–'
        : mark(Math.max(...some.map((fault) => recoveries.get(fault) ?? Number.POSITIVE_INFINITY)));
    return [kind, ofKind.length, alone.length, slowest(alone), paired.length, slowest(paired)];
  });
}

const mark = (ms: number) => `${ms}${ms > RECOVERY_GOAL_MS ? ' (over 15 s)' : ''}`;

/** Whether another fault struck before this one was recovered from, or the other way round. */
function isPaired(all: readonly FaultStory[], fault: FaultStory): boolean {
  const endOf = ({ beganAt, endedAt, probedAt }: FaultStory) => Math.max(beganAt, endedAt ?? 0, probedAt ?? 0);
  return all.some((other) => other !== fault && other.beganAt <= endOf(fault) && endOf(other) >= fault.beganAt);
}

/**
 * From a fault until a fresh call got its result and every task was settled that was in flight when it struck, ms; on
 * whatever part, for anyone may have to wait for the part that was hit.
 */
function recoveryMs(ledger: Ledger, { beganAt, probedAt }: FaultStory): number {
  let recoveredAt = probedAt ?? Number.POSITIVE_INFINITY;
  for (const task of ledger.tasks.values()) {
    const kind = kindOf(ledger, task);
    if (kind === undefined || !MEASURED_KINDS.has(kind)) continue;
    const acceptedAt = task.record?.createdAtMs ?? Number.POSITIVE_INFINITY;
    const settled = settledAt(task) ?? Number.POSITIVE_INFINITY;
    if (acceptedAt <= beganAt && settled > beganAt) recoveredAt = Math.max(recoveredAt, settled);
  }
  return recoveredAt - beganAt;
}

/** Tasks that were executed more often than they have attempts, by what was said about that. */
function extras(ledger: Ledger): Row[] {
  const reasons: string[] = [];
  for (const task of ledger.tasks.values()) {
    if (task.starts.length <= (task.record?.attempts ?? 0)) continue;
    const said = task.said.filter(({ statement }) => statement !== 'late');
    const recovery = said.find(({ statement }) => statement === 'run-again')?.reason.replace(/\d+|SIG[A-Z]+/g, '…');
    if (recovery !== undefined) reasons.push(`run again: ${recovery}`);
    else if (recoveriesExplained(task) > 0) reasons.push('taken from a dead worker');
    else if (said.some(({ statement }) => statement === 'given-back'))
      reasons.push('given back by a worker that stops');
    else reasons.push(task.record?.status === 'cancelled' ? 'cancelled as it began' : 'none');
  }
  return [...countBy(reasons, (reason) => reason)].map(([reason, count]) => [reason, count]);
}

/** How tasks of each kind are meant to end; where nothing is said, by completing. */
const PLANNED: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  exhausted: ['FUNCTION_FAILED'],
  'timed-out': ['TASK_TIMEOUT'],
  cancelled: ['TASK_CANCELLED', ''],
};

/** Tasks that ended in another way than their kind is meant to: no rule is broken, and someone may want to know why. */
function unplanned(ledger: Ledger): Row[] {
  const ends: string[] = [];
  for (const task of ledger.tasks.values()) {
    const kind = kindOf(ledger, task);
    const [outcome] = task.outcomes;
    if (kind === undefined || outcome === undefined) continue;
    const planned = PLANNED[kind] ?? [''];
    if (!planned.includes(outcome.code ?? '')) ends.push(`${kind}|${outcome.code ?? outcome.status}`);
  }
  return [...countBy(ends, (end) => end)].map(([end, count]) => [...end.split('|'), count]);
}

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

function table(title: string, columns: Row, rows: readonly Row[]): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, column) => Math.max(...all.map((row) => String(row[column] ?? '').length)));
  const line = (row: Row) =>
    `  ${row.map((cell, i) => (i === 0 ? String(cell).padEnd(widths[i] ?? 0) : String(cell).padStart(widths[i] ?? 0))).join('  ')}`;
  return [title, ...all.map(line), ''].join('\n');
}
