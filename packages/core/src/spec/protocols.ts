import type { ProtocolField } from './fields.ts';

export interface ProtocolRow {
  /** Whether this release has it; what is agreed and not built is answered with 501. */
  readonly isBuilt: boolean;
  /** Kind of what it runs: a function in code, a command, or a WebAssembly module. */
  readonly runs: 'function' | 'command' | 'module';
  /** Number of tasks that one instance runs at once: one by its nature, one until more is built, or as many as `pool.concurrency` says. */
  readonly callsAtOnce: 'one' | 'one-so-far' | 'many';
  /** Whether it honours each of these fields; `callsAtOnce` says so of `pool.concurrency`. */
  readonly fields: Readonly<Record<Exclude<ProtocolField, 'pool.concurrency'>, boolean>>;
  /** The variables that are set by Pilum, so that whatever a version gave them would be lost. */
  readonly setsVariables: RegExp;
}

/** The variables of every program that runs once for one task. */
const TOLD_OF_ITS_TASK =
  /^PILUM_(?:CHANNEL|TASK_ID|ARTIFACT_ID|VERSION|NAMESPACE|ATTEMPT|DEADLINE_MS|CONTENT_TYPE|HTTP_METHOD|HTTP_URL)$/;
/** Place where a bootstrap finds its worker. */
const CHANNEL = /^PILUM_CHANNEL$/;

/** The invocation protocols: one row each. */
export const PROTOCOL_TABLE = {
  handler: {
    isBuilt: true,
    runs: 'function',
    callsAtOnce: 'one-so-far',
    fields: { language: true, entry: true, command: false, http: false },
    setsVariables: CHANNEL,
  },
  stdio: {
    isBuilt: true,
    runs: 'command',
    callsAtOnce: 'one',
    fields: { language: false, entry: true, command: true, http: false },
    setsVariables: TOLD_OF_ITS_TASK,
  },
  http: {
    isBuilt: true,
    runs: 'command',
    callsAtOnce: 'many',
    fields: { language: false, entry: true, command: true, http: true },
    setsVariables: CHANNEL,
  },
  lambda: {
    isBuilt: false,
    runs: 'command',
    callsAtOnce: 'one',
    fields: { language: false, entry: true, command: true, http: false },
    setsVariables: CHANNEL,
  },
  wasi: {
    isBuilt: true,
    runs: 'module',
    callsAtOnce: 'one',
    fields: { language: false, entry: true, command: true, http: false },
    setsVariables: TOLD_OF_ITS_TASK,
  },
} as const satisfies Readonly<Record<string, ProtocolRow>>;

export type Protocol = keyof typeof PROTOCOL_TABLE;
export const PROTOCOLS = Object.keys(PROTOCOL_TABLE) as Protocol[];

/** The row of a protocol, as any of them. */
export const protocolRow = (protocol: Protocol): ProtocolRow => PROTOCOL_TABLE[protocol];

/** Whether a protocol honours a field. */
export function isHonouredBy(protocol: Protocol, field: ProtocolField): boolean {
  const { callsAtOnce, fields } = protocolRow(protocol);
  return field === 'pool.concurrency' ? callsAtOnce === 'many' : fields[field];
}
