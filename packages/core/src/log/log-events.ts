import { RUNTIME_EVENTS } from './runtime-events.ts';
import { SECRET_EVENTS } from './secret-events.ts';

/** Levels of a log line, as pino has them. */
type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/** The description of one kind of log line. */
export interface LogEvent {
  readonly level: LogLevel;
  /** The line: the thing and what happens next. A few lines say more, which follows from the moment; they say so at the call. */
  readonly says: string;
  /** The action of an operator. */
  readonly act: string;
}

/**
 * Every line that the processes of Pilum log, by the name in its field `event`. The name stays over releases: alerts go by it.
 * docs/log-events.md is made of this table.
 */
export const LOG_EVENTS = {
  'redis-awaited': {
    level: 'warn',
    says: 'waiting for Redis',
    act: 'Nothing if Redis is starting. Otherwise start Redis, or correct `PILUM_REDIS_URL`; the line says what is wrong.',
  },
  'redis-warning': {
    level: 'warn',
    says: 'Redis is not set up as it should be',
    act: 'Change the setting of Redis that the line names; see docs on Redis.',
  },
  'redis-refused': {
    level: 'error',
    says: 'Redis breaks a promise of Pilum; until that is mended /readyz says that this process is not ready',
    act: 'Change the setting of Redis that the line names. The process looks again at each new connection.',
  },
  'stopping-at-once': {
    level: 'info',
    says: 'stopping at once after a second signal',
    act: 'Nothing. Running tasks are recovered by other workers.',
  },
  stopping: {
    level: 'info',
    says: 'stopping',
    act: 'Nothing. The line names the signal or the reason.',
  },
  'stop-overdue': {
    level: 'error',
    says: 'the process could not stop in good order within its time; what it held is found by others',
    act: 'Nothing, if it is rare. Often: look at what Redis or the Docker Engine does not answer.',
  },
  'stop-failed': {
    level: 'error',
    says: 'the process could not stop in good order; what it held is found by others',
    act: 'Look at the error.',
  },
  'start-refused': {
    level: 'error',
    says: 'the process cannot start as it is configured',
    act: 'Correct what the line names and start it again; the exit code is 78.',
  },
  'start-failed': {
    level: 'error',
    says: 'the process could not start',
    act: 'Look at the error; the exit code is 1.',
  },
  'clock-agrees': {
    level: 'warn',
    says: "this machine's clock agrees with that of Redis again",
    act: 'Nothing.',
  },
  'clock-skewed': {
    level: 'warn',
    says: "this machine's clock differs from that of Redis",
    act: 'Synchronize the clock of this machine (NTP).',
  },
  'round-failed': {
    level: 'warn',
    says: 'the round over all queues failed; the next one follows',
    act: 'Nothing, if Redis was away for a moment. Often: look at the error.',
  },
  'code-collected': {
    level: 'info',
    says: 'code that no artifact uses was deleted',
    act: 'Nothing.',
  },
  'tasks-recovered': {
    level: 'warn',
    says: 'tasks of a dead worker are run again',
    act: 'Find out why the worker died: its own log, or the kernel’s (out of memory).',
  },
  'tasks-overdue': {
    level: 'warn',
    says: 'tasks have waited longer than they may; they end as QUEUE_TIMEOUT',
    act: 'Add workers, or give the tasks a longer wait (`timeouts.queueMs`).',
  },
  'namespace-over-limit': {
    level: 'warn',
    says: 'the tasks of a namespace hold more than they may: the oldest results, logs and frames of its largest artifacts are let go',
    act: 'Raise `PILUM_NAMESPACE_KEPT_MIB`, or have functions return less.',
  },
  'redis-half-full': {
    level: 'warn',
    says: 'finished tasks hold more than half of what Redis may use (maxmemory): the oldest results, logs and frames of the largest artifacts are let go',
    act: 'Give Redis more memory, or keep less (`PILUM_KEPT_MIB`).',
  },
  'redis-clock-unread': {
    level: 'debug',
    says: 'the clock of Redis could not be read; it is read again',
    act: 'Nothing.',
  },
  'message-unread': {
    level: 'warn',
    says: 'a message from another process could not be read; it is left out',
    act: 'Nothing during an upgrade. Otherwise report it.',
  },
  'redis-disturbed': {
    level: 'warn',
    says: 'the connection to Redis is disturbed; it is made again',
    act: 'Look at Redis if it stays so.',
  },
  'backlog-unseen': {
    level: 'warn',
    says: 'the backlog of the queues was not seen at the start; the housekeeper announces it',
    act: 'Nothing.',
  },
  'suspect-not-cleared': {
    level: 'warn',
    says: 'a task under suspicion was not cleared of this run; it begins alone next time',
    act: 'Nothing.',
  },
  'suspect-alone': {
    level: 'warn',
    says: 'a task under suspicion begins alone: workers have died under it',
    act: 'Look at what the task does to a worker if it happens again.',
  },
  'task-run-again': {
    level: 'warn',
    says: 'a task is run again',
    act: 'Find out why its worker or instance was lost: `reason` says it.',
  },
  'task-internal': {
    level: 'error',
    says: 'a task failed for a reason of Pilum’s own; it ends as INTERNAL',
    act: 'Report it, with the error.',
  },
  'running-unseen': {
    level: 'warn',
    says: 'running tasks could not be looked at; they are looked at again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'late-attempt': {
    level: 'warn',
    says: 'a late attempt was not recorded: the task has gone on without it',
    act: 'Nothing. Often: this worker is held up; look at its load.',
  },
  'late-stream-end': {
    level: 'warn',
    says: 'a late end of a stream was not recorded: the task is another run’s',
    act: 'Nothing. Often: this worker is held up; look at its load.',
  },
  'late-outcome': {
    level: 'warn',
    says: 'a late attempt did not change the outcome of its task',
    act: 'Nothing. Often: this worker is held up; look at its load.',
  },
  'instance-not-stopped': {
    level: 'error',
    says: 'an instance could not be stopped; it is removed as an orphan',
    act: 'Look at the error if it happens again.',
  },
  'outcome-not-taken': {
    level: 'warn',
    says: 'Redis does not take what a task came to; it is written again',
    act: 'Look at Redis: it is away, or full.',
  },
  'runtimes-unchecked': {
    level: 'warn',
    says: 'the runtimes could not be checked; they are checked again',
    act: 'Look at the error if it stays so.',
  },
  'module-changed': {
    level: 'warn',
    says: 'a compiled module on disk is not what it was; it is compiled again',
    act: 'Find out who writes below `PILUM_DATA`.',
  },
  'modules-not-removed': {
    level: 'warn',
    says: 'compiled modules could not be removed; they are tried again with the next one',
    act: 'Look at the rights and the space of `PILUM_DATA`.',
  },
  'wasmtime-refused': {
    level: 'warn',
    says: 'wasmtime does not work here; V8 runs the modules',
    act: 'Nothing, or mend what the error says: V8 is slower to start.',
  },
  ...RUNTIME_EVENTS,
  'worker-unreported': {
    level: 'warn',
    says: 'the worker could not report itself; it reports itself again',
    act: 'Look at Redis if it stays so: the worker counts as dead after a while.',
  },
  'order-taken': {
    level: 'info',
    says: 'an operator has given an order; it is obeyed',
    act: 'Nothing.',
  },
  'idle-unseen': {
    level: 'warn',
    says: 'idle instances could not be looked after; they are looked after in the next round',
    act: 'Look at the error if it stays so.',
  },
  'instance-not-started': {
    level: 'warn',
    says: 'an instance could not be started; the next start of its version follows after a pause',
    act: 'Look at the error: it is the function’s, or the machine’s.',
  },
  'not-kept-warm': {
    level: 'warn',
    says: 'a version is not kept warm; this is tried again',
    act: 'Look at the error.',
  },
  'orphans-unseen': {
    level: 'warn',
    says: 'the remains of dead workers could not be looked for; they are looked for again',
    act: 'Look at the error if it stays so.',
  },
  'presence-unshown': {
    level: 'warn',
    says: 'this worker could not show that it is there; it shows itself again',
    act: 'Look at `PILUM_DATA`: others may take it for dead.',
  },
  'readers-uncounted': {
    level: 'warn',
    says: 'the readers of streamed tasks could not be counted; they are counted again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'locks-not-renewed': {
    level: 'warn',
    says: 'locks could not be renewed; they are renewed again',
    act: 'Look at Redis. After 5 s tasks are run again by others.',
  },
  'lock-thread-silent': {
    level: 'warn',
    says: 'Redis does not answer the thread that renews locks; the main loop renews them too',
    act: 'Look at Redis.',
  },
  'lock-thread-hangs': {
    level: 'error',
    says: 'the thread that renews locks shows no life; the main loop renews them',
    act: 'Report it.',
  },
  'lock-thread-ended': {
    level: 'error',
    says: 'the thread that renews locks has ended; the main loop renews them until there is another',
    act: 'Report it, with the error.',
  },
  'locks-lost': {
    level: 'warn',
    says: 'locks have run out or were taken: another worker may run these tasks as well',
    act: 'Look at the load of this worker: it was held up, or Redis was away.',
  },
  'loop-hangs': {
    level: 'fatal',
    says: 'the event loop hangs: the process is killed by its watchdog',
    act: 'Report it. Another worker runs its tasks.',
  },
  'fetch-failed': {
    level: 'warn',
    says: 'no task could be fetched; the queue is looked at when it is announced',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'slot-gone': {
    level: 'warn',
    says: 'a task was handed to a slot that is not there; it is given back',
    act: 'Nothing.',
  },
  'task-left': {
    level: 'error',
    says: 'a task was left to be recovered; its lock runs out in 5 s',
    act: 'Look at the error.',
  },
  'task-unknown': {
    level: 'warn',
    says: 'a task is left to other workers: what a newer release has written of it says something that this worker does not know',
    act: 'Update this worker. The line names what it does not know.',
  },
  'order-unknown': {
    level: 'warn',
    says: 'an operator has given an order that this worker does not know; it goes on as before',
    act: 'Update this worker, or stop it by a signal. The line names what is wrong with the order.',
  },
  'task-too-large': {
    level: 'warn',
    says: 'a task is left to other workers: it is too large for this one, its interpreter is not here, or its runtime does not work here at the moment',
    act: 'Have a worker with enough capacity and the interpreter; /v1/workers shows what each has.',
  },
  'offer-stands': {
    level: 'warn',
    says: 'an offer of a slot could not be taken back; it stands',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'job-not-held': {
    level: 'info',
    says: 'the job of a settled task was not held by this worker any more',
    act: 'Nothing.',
  },
  'task-given-back': {
    level: 'info',
    says: 'a task was given back to its queue',
    act: 'Nothing.',
  },
  'code-changed': {
    level: 'warn',
    says: 'code on disk is not what it should be; it is fetched again',
    act: 'Find out who writes below `PILUM_DATA`.',
  },
  'code-not-removed': {
    level: 'warn',
    says: 'code could not be removed; it stays until the next start',
    act: 'Look at the rights of `PILUM_DATA`.',
  },
  'directory-not-removed': {
    level: 'warn',
    says: 'a directory could not be removed; the next start of a worker tries again',
    act: 'Look at the rights of `PILUM_DATA`.',
  },
  'archive-not-unpacked': {
    level: 'error',
    says: 'an archive could not be unpacked; its task fails',
    act: 'Look at the error: space, memory, or the sandbox of this machine.',
  },
  'unpack-sandbox-refused': {
    level: 'warn',
    says: 'bubblewrap does not work here for archives',
    act: 'Mend what the error says: archives are unpacked with less around them.',
  },
  'keyless-unseen': {
    level: 'warn',
    says: 'APIs without a key were not looked for; they are looked for again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'keyless-api': {
    level: 'warn',
    says: 'an API asks for no key; instances with the network of this machine are stopped',
    act: 'Give every API `PILUM_API_KEY`, or do not allow the host’s network.',
  },
  'no-prewarmed': {
    level: 'warn',
    says: 'no prewarmed sandboxes are kept; instances start without them',
    act: 'Look at the error, or set `PILUM_PREWARM`.',
  },
  'not-ready-ahead': {
    level: 'warn',
    says: 'a version could not be made ready ahead; its first call does that',
    act: 'Look at the error.',
  },
  'artifacts-unlisted': {
    level: 'warn',
    says: 'the artifacts could not be listed; they are listed again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'artifact-unread': {
    level: 'warn',
    says: 'an artifact could not be read; it is read again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'version-tried-again': {
    level: 'warn',
    says: 'a version could not be made ready; it is tried again',
    act: 'Look at the error: mostly a registry or the Engine is away.',
  },
  'version-failed': {
    level: 'warn',
    says: 'a version could not be made ready',
    act: 'Its owner sees the same error at the artifact.',
  },
  'version-ready': { level: 'info', says: 'a version is ready', act: 'Nothing.' },
  'version-internal': {
    level: 'error',
    says: 'a version could not be made ready for a reason of Pilum’s own',
    act: 'Report it, with the error.',
  },
  'progress-unnoted': {
    level: 'debug',
    says: 'the progress of a preparation was not noted',
    act: 'Nothing.',
  },
  'redis-answers': { level: 'info', says: 'Redis answers', act: 'Nothing.' },
  ready: {
    level: 'info',
    says: 'ready',
    act: 'Nothing. /readyz answers 200 from now on.',
  },
  'address-refused': {
    level: 'fatal',
    says: 'the API cannot listen where it is to',
    act: 'Choose another address with `PILUM_HOST` and `PILUM_PORT`.',
  },
  'schema-unread': {
    level: 'warn',
    says: 'the schema version could not be read from Redis; it is read again in a second',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'answer-broke-off': {
    level: 'error',
    says: 'the answer of a function broke off; its connection is closed',
    act: 'Nothing. The task is on record.',
  },
  'stream-broke-off': {
    level: 'error',
    says: 'a stream broke off; its connection is closed',
    act: 'Nothing. A reader resumes with `Last-Event-ID`.',
  },
  'request-failed': {
    level: 'error',
    says: 'a request failed unexpectedly; the caller is answered INTERNAL',
    act: 'Report it, with the error.',
  },
  'calls-refused': {
    level: 'warn',
    says: 'calls are answered 503: Redis does not take them',
    act: 'Look at Redis: it is away, or full.',
  },
  ...SECRET_EVENTS,
} as const satisfies Readonly<Record<string, LogEvent>>;

export type LogEventName = keyof typeof LOG_EVENTS;

/** The part of a logger that takes lines of one level. */
export type LogOf<Level extends LogLevel = LogLevel> = Readonly<
  Record<Level, (fields: object, message: string) => void>
>;

/**
 * Logs a line of {@link LOG_EVENTS}.
 * @param fields what the line is about, by name: `taskId`, `artifactId`, `err` for an error
 * @param says the sentence, where it says more than the table's
 */
export function logEvent<Name extends LogEventName>(
  log: LogOf<(typeof LOG_EVENTS)[Name]['level']>,
  name: Name,
  fields: object = {},
  says: string = LOG_EVENTS[name].says,
): void {
  const level: (typeof LOG_EVENTS)[Name]['level'] = LOG_EVENTS[name].level;
  log[level]({ event: name, ...fields }, says);
}
