// Every field of an artifact spec stands in one of these lists, which says who decides whether it means something. A test
// compares them with the schema: a new field belongs in one of them, and then in each row of the table that it leads to.

/** The fields that Pilum itself honours, whatever runs the artifact. */
export const PILUM_FIELDS = [
  'runtime',
  'protocol',
  'public',
  'cors',
  'timeouts.runMs',
  'timeouts.queueMs',
  'timeouts.startMs',
  'retry.attempts',
  'retry.recoveries',
  'retry.backoff',
  'pool.min',
  'pool.max',
  'pool.idleTimeoutMs',
  'pool.healthCheckIntervalMs',
  'pool.policy',
  'pool.recycleAfterTasks',
  'pool.recycleAfterMs',
  'labels',
] as const;

/** The fields of which each runtime says whether it honours them. `code` is not among them: see {@link CODE_FORMS}. */
export const RUNTIME_FIELDS = [
  'interpreter',
  'env',
  'secrets',
  'dependsOn',
  'writable',
  'limits.memoryMiB',
  'limits.cpu',
  'limits.pids',
  'limits.diskMiB',
  'limits.outputMiB',
  'limits.network',
  'limits.diskReadMiBps',
  'pool.background',
  'check',
] as const;
export type RuntimeField = (typeof RUNTIME_FIELDS)[number];

/** The fields of which each protocol says whether it honours them. */
export const PROTOCOL_FIELDS = ['language', 'entry', 'command', 'http', 'pool.concurrency'] as const;
export type ProtocolField = (typeof PROTOCOL_FIELDS)[number];

/** The forms that code has in a spec: `code.inline`, a blob of one of three formats, and `code.image`. */
export const CODE_FORMS = ['inline', 'file', 'tar', 'zip', 'image'] as const;
export type CodeForm = (typeof CODE_FORMS)[number];

/** The fields that a layer has, which runs nothing. */
export const LAYER_FIELDS = ['runtime', 'code', 'entry', 'labels'] as const;

/** Whether a field is honoured; if it is not, why: what follows "is not for runtime …: ". */
export type Honoured = true | string;
