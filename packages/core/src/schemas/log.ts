import { type Static, Type } from 'typebox';
import { Timestamp } from './names.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line of a task's log, as it is stored (JSON lines) and as a program is given it. */
export const LogEntry = Type.Object({
  at: Timestamp,
  stream: Type.Enum(['stdout', 'stderr', 'log']),
  level: Type.Enum(LOG_LEVELS),
  text: Type.String(),
  attempt: Type.Optional(Type.Integer({ minimum: 1, description: 'Which attempt it is of.' })),
  fields: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});
export type LogEntry = Static<typeof LogEntry>;
