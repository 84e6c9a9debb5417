import { type Logger, pino } from 'pino';

/** The process's log: JSON lines, or made for the eye where standard output is a terminal. */
export function createLogger(name: string, level: string): Logger {
  return pino({
    name,
    level,
    ...(process.stdout.isTTY
      ? { transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname,name,event' } } }
      : {}),
  });
}

export type { Logger } from 'pino';
