import type { LogEntry } from '@pilum/core/schemas/log.ts';
import type { LineRun } from '@pilum/core/store/output-store.ts';

/**
 * A log as JSON lines, oldest first; where some are no longer kept a line says how many.
 * @param tail only so many of the last lines; null for all
 */
export function logLines(runs: readonly LineRun[], tail: number | null): string[] {
  const lines: string[] = [];
  let last = 0;
  for (const run of runs) {
    if (run.after > last) lines.push(droppedNotice(run.after - last, run));
    // One by one: there may be more than a call has room for arguments.
    for (const line of run.lines) lines.push(line);
    last = run.after + run.lines.length;
  }
  if (tail === null) return lines;
  return tail === 0 ? [] : lines.slice(-tail);
}

/** A line, as JSON, that stands where others are no longer kept. */
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
 * A log for the eye: `<ISO time> <LEVEL> <text>`, a line each.
 * @param jsonLines the log as programs are given it
 */
export function logText(jsonLines: readonly string[]): string {
  return jsonLines
    .map((line) => {
      const { at, level, text, fields } = JSON.parse(line) as LogEntry;
      const suffix = fields === undefined ? '' : ` ${JSON.stringify(fields)}`;
      return `${at} ${level.toUpperCase().padEnd(5)} ${text}${suffix}\n`;
    })
    .join('');
}
