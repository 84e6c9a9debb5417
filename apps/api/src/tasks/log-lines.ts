import type { LogEntry } from '@pilum/core/schemas/log.ts';
import type { LineRun } from '@pilum/core/store/output-store.ts';

/**
 * Returns a log as JSON lines, oldest first. One line stands for those that are no longer kept, with their number.
 * @param tail number of last lines to return; null for all
 */
export function logLines(runs: readonly LineRun[], tail: number | null): string[] {
  const lines: string[] = [];
  let last = 0;
  for (const run of runs) {
    if (run.after > last) lines.push(droppedNotice(run.after - last, run));
    // Pushed one by one, because a call can take only so many arguments.
    for (const line of run.lines) lines.push(line);
    last = run.after + run.lines.length;
  }
  if (tail === null) return lines;
  return tail === 0 ? [] : lines.slice(-tail);
}

/** Makes the JSON line that stands for lines which are no longer kept. */
export function droppedNotice(lines: number, next: LineRun): string {
  const { at, attempt } = JSON.parse(next.lines[0] ?? '{}') as Partial<LogEntry>;
  const notice: LogEntry = {
    at: at ?? new Date().toISOString(),
    stream: 'log',
    level: 'warn',
    text: `[pilum] ${lines} earlier lines were dropped`,
    ...(attempt === undefined ? {} : { attempt }),
  };
  return JSON.stringify(notice);
}

/**
 * Returns a log for people: `<ISO time> <LEVEL> <text>` per line.
 * @param jsonLines the log as JSON lines
 */
export function logText(jsonLines: readonly string[]): string {
  return jsonLines
    .map((line) => {
      // A line of another release may lack a field.
      const { at = '', level = 'info', text = '', fields } = JSON.parse(line) as Partial<LogEntry>;
      const suffix = fields === undefined ? '' : ` ${JSON.stringify(fields)}`;
      return `${at} ${level.toUpperCase().padEnd(5)} ${text}${suffix}\n`;
    })
    .join('');
}
