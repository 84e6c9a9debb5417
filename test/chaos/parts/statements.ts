import type { LogEventName } from '@pilum/core/log/log-events.ts';
import type { EventOf, Statement } from '../history/events.ts';

/** What the processes of Pilum log about tasks, and what it means for a history. */
const STATEMENTS: Readonly<Partial<Record<string, Statement>>> = {
  'task-run-again': 'run-again',
  'tasks-recovered': 'taken-from-dead-worker',
  'task-given-back': 'given-back',
  'late-outcome': 'late',
  'late-attempt': 'late',
  'locks-lost': 'late',
} satisfies Partial<Record<LogEventName, Statement>>;

interface LogLine {
  readonly time: number;
  readonly event?: string;
  readonly taskId?: string;
  readonly taskIds?: readonly string[];
  readonly recoveries?: number;
  readonly reason?: string;
}

/** What a line that a part has printed says about tasks; null where it says nothing. */
export function statementOf(source: string, line: string): EventOf<'said'> | null {
  if (!line.startsWith('{') || !line.includes('"taskId')) return null;
  let log: LogLine;
  try {
    log = JSON.parse(line);
  } catch {
    return null; // cut off by the end of its process
  }
  const statement = STATEMENTS[log.event ?? ''];
  const taskIds = log.taskIds ?? (log.taskId === undefined ? [] : [log.taskId]);
  if (statement === undefined || taskIds.length === 0) return null;
  const { recoveries: recovery = null, reason = '' } = log;
  return { type: 'said', at: log.time, statement, taskIds, recovery, reason, source };
}

const RUN_AGAIN = /^\[pilum\] run again \(recovery (\d+)\): (.*)$/;

/** The recoveries that a task's own log tells of. */
export function recoveriesIn(taskId: string, jsonLines: string): EventOf<'said'>[] {
  return jsonLines
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const { at, text } = JSON.parse(line) as { at: string; text: string };
      const [, recovery, reason = ''] = RUN_AGAIN.exec(text) ?? [];
      if (recovery === undefined) return [];
      const event = { type: 'said', at: Date.parse(at), statement: 'run-again', taskIds: [taskId] } as const;
      return [{ ...event, recovery: Number(recovery), reason, source: 'log' }];
    });
}
