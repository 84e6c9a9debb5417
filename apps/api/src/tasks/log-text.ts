import type { LogEntry } from '@pilum/core/schemas/log.ts';

/**
 * A log for the eye: `<ISO time> <LEVEL> <text>`, a line each.
 * @param jsonLines the log as it is stored, which is also what programs are given
 */
export function logText(jsonLines: string): string {
  return jsonLines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { at, level, text, fields } = JSON.parse(line) as LogEntry;
      const suffix = fields === undefined ? '' : ` ${JSON.stringify(fields)}`;
      return `${at} ${level.toUpperCase().padEnd(5)} ${text}${suffix}\n`;
    })
    .join('');
}
