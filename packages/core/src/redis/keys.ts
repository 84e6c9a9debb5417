import type { ArtifactRef, BlobRef, TaskRef } from '../schemas/refs.ts';

/**
 * Every key that Pilum writes. All keys of an artifact and of its tasks share one hash tag, so that one script may
 * touch them together and a Redis Cluster spreads artifacts over its slots.
 */
const tagOf = ({ namespace, artifactId }: ArtifactRef) => `{pilum:${namespace}:${artifactId}}`;

/** Name of the BullMQ queue inside an artifact's tag. */
export const QUEUE_NAME = 'queue';

/** Characters of a ULID. */
export const ULID_LENGTH = 26;

/** The ULID of a task id `<artifactId>.<ULID>`. */
export function ulidOf(taskId: string): string {
  return taskId.slice(taskId.lastIndexOf('.') + 1);
}

/** The artifact of a task id `<artifactId>.<ULID>`. */
export function artifactIdOf(taskId: string): string {
  return taskId.slice(0, taskId.lastIndexOf('.'));
}

/** Marks that follow a ULID in the index of settled tasks: they say what is to be done when the task is over the count. */
export const MARKS = {
  /** The outcome is all that there is of it. */
  alone: '',
  /** There may be more keys of it, and what it holds follows: `b<bytes>`, `f<bytes>` as in `kept`. */
  more: '+',
  /** The task has an Idempotency-Key, and stays for as long as that. */
  keyed: '!',
} as const;

/** Prefix of all keys of an artifact's queue, by which scripts find every other key of the artifact. */
export const queueKeysOf = (ref: ArtifactRef) => `${tagOf(ref)}:${QUEUE_NAME}:`;

export function artifactKeys(ref: ArtifactRef) {
  const tag = tagOf(ref);
  return {
    /** BullMQ's prefix: its keys are `<prefix>:queue:…`. */
    queuePrefix: tag,
    /** Hash: the artifact's own fields. Outlives deletion, so that version numbers are never used twice. */
    artifact: `${tag}:artifact`,
    /** Hash: version number → record without its state. */
    versions: `${tag}:versions`,
    /** Hash: version number → state. */
    versionStates: `${tag}:version-states`,
    /** String that expires: the worker that makes a version ready. */
    preparing: (version: number) => `${tag}:preparing:${version}`,
    /** Hash: content hash → version number. */
    contents: `${tag}:contents`,
    /** Sorted set: version number by which deployment of the artifact it was last, 1, 2, 3 … */
    deployments: `${tag}:deployments`,
    /** Hash: alias → version number. */
    aliases: `${tag}:aliases`,
    /** Hash: bytes of payloads not settled, bytes that settled tasks hold, and stats per status. */
    stats: `${tag}:stats`,
    /** Sorted set, all scores 0: what settled tasks hold, `<ULID>b<bytes>` and `<ULID>f<bytes>` (frames), the oldest first. */
    kept: `${tag}:kept`,
    /** List: the token of each slot that is offered, `<worker process>:<number>`, the latest last. */
    offers: `${tag}:offers`,
    /** Sorted set, all scores 0 and so in order of acceptance: the ULIDs of settled tasks of one status, each with its {@link MARKS}. */
    settled: (status: string) => `${tag}:settled:${status}`,
    /** Prefix of all keys of its queue. */
    queueKeys: queueKeysOf(ref),
    /** String: `<request digest> <taskId>`. */
    idempotency: (key: string) => `${tag}:idempotency:${key}`,
    /** Sorted set by expiry, s: the idempotency keys that are in use. */
    idempotencyKeys: `${tag}:idempotency-keys`,
  };
}

/** The constants that lua/keys.lua needs, which names these keys to scripts, for each script that includes it. */
export const KEYS_CONSTANTS = { QUEUE_NAME, ULID_LENGTH } as const;

export function taskKeys(ref: TaskRef) {
  const { namespace, taskId } = ref;
  const base = `${tagOf({ namespace, artifactId: artifactIdOf(taskId) })}:task:${ulidOf(taskId)}`;
  return {
    /** String: the outcome as JSON. */
    outcome: `${base}:outcome`,
    /** Strings: raw bytes too large to travel inside job or outcome. */
    payload: `${base}:payload`,
    /** A payload on its way: the script that accepts its task makes it the payload. */
    stagedPayload: `${base}:staged-payload`,
    /** A result on its way: the script that settles its task makes it the result, unless another was first. */
    stagedResult: (writer: string) => `${base}:staged-result:${writer}`,
    result: `${base}:result`,
    /** Hash: how far frames and log have come, and the newest progress. */
    output: `${base}:output`,
    /** Stream: an entry for each batch of frames, under the number of its last. */
    frames: `${base}:frames`,
    /** List: batches of lines of its log. */
    log: `${base}:log`,
    /** Set: reply inboxes that joined later and wait for the outcome. */
    waiters: `${base}:waiters`,
    /** String: how often an instance died under it. */
    losses: `${base}:losses`,
    /** String: how often workers died under it once it was under suspicion. */
    suspicion: `${base}:suspicion`,
    /** List: the attempts that failed and were followed by another, as JSON. */
    attempts: `${base}:attempts`,
    /** String: the ticket of a task that did not complete, so that it can be retried by hand. */
    ticket: `${base}:ticket`,
    /** String: the task that a retry by hand has made of it. */
    retriedAs: `${base}:retriedAs`,
    /** Hash: version and payload of each other retry by hand → its task. */
    retries: `${base}:retries`,
  };
}

export function blobKeys(ref: BlobRef) {
  const { namespace, digest } = ref;
  const base = `{pilum:${namespace}:blob:${digest}}`;
  return {
    /** Hash: uploadId, sizeBytes, chunks, storedAtMs. There is a blob if, and only if, this key is there. */
    meta: `${base}:meta`,
    /** Set: `<artifactId>` for each artifact with a version that needs the blob. */
    references: `${base}:references`,
    /** Prefix of all chunks; `<uploadId>:<index>` follows. */
    chunkPrefix: `${base}:upload:`,
    chunk: (uploadId: string, index: number) => `${base}:upload:${uploadId}:${index}`,
  };
}

/** The keys of a namespace's secrets. Their tag is not that of other keys, so that an ACL can tell them apart. */
export function secretKeys(namespace: string) {
  const tag = `{pilum-secrets:${namespace}}`;
  return {
    /** Hash: name → what is known of the secret, without its value, as JSON. */
    records: `${tag}:records`,
    /** Hash: `<name>@<version>` → the encrypted value. */
    boxes: `${tag}:boxes`,
    /** String: the last version that any secret of the namespace was given. */
    versions: `${tag}:versions`,
    /** Set: `<artifactId>` for each artifact with a version that names the secret. */
    users: (name: string) => `${tag}:users:${name}`,
  };
}
/** Set: namespaces that have had a secret. */
export const SECRET_NAMESPACES = '{pilum-secrets}:namespaces';

/** Sorted set, all scores 0: `<namespace>/<artifactId>` of every artifact. */
export const ARTIFACT_INDEX = '{pilum:artifacts}:index';
/** Sorted sets by when it was put there, ms: `<namespace>/<artifactId>` of the artifacts that somebody looks after. */
export const ACTIVE_ARTIFACTS = '{pilum:artifacts}:active';
export const HOLDING_ARTIFACTS = '{pilum:artifacts}:holding';
export const WATCHED_ARTIFACTS = '{pilum:artifacts}:watched';
/** String: all artifacts were put on these lists once, as those of releases that had none have to be. */
export const RECENT_ARTIFACTS = '{pilum:artifacts}:recent';
export const ARTIFACTS_LISTED = '{pilum:artifacts}:listed';
/** Sorted set by when it may be unused, ms: `<namespace>/<digest>` of each blob that was stored or is needed by one artifact fewer. */
export const UNUSED_BLOBS = '{pilum:blobs}:unused';
/** Sorted sets, all scores 0: `<ULID><artifactId>` of the newest tasks of a namespace; all that were accepted, and those that did not complete. */
export const recentTasksKey = (namespace: string) => `{pilum:${namespace}}:tasks:recent`;
export const unsuccessfulTasksKey = (namespace: string) => `{pilum:${namespace}}:tasks:unsuccessful`;

/** Hash: `<namespace>/<digest>` → size in bytes; and what uploads have reserved. */
export const BLOB_INDEX = '{pilum:blobs}:index';
/** String: bytes in use by all blobs and uploads. */
export const BLOB_USAGE = '{pilum:blobs}:usage';
/** Sorted set by expiry, ms: reservations of running uploads, `<uploadId> <bytes>`. */
export const BLOB_UPLOADS = '{pilum:blobs}:uploads';
/** Sorted set by time of the last sign of life, ms: worker ids. */
export const WORKER_INDEX = '{pilum:workers}:index';
export const workerKey = (workerId: string) => `{pilum:workers}:worker:${workerId}`;
export const workerInstancesKey = (workerId: string) => `{pilum:workers}:instances:${workerId}`;
/** String: the layout of all these keys; an older process refuses a newer one. */
export const SCHEMA_VERSION = '{pilum}:schemaVersion';
/** String: who does the housekeeping. */
export const HOUSEKEEPER = '{pilum}:housekeeper';
/** String: which API process shows the stats of all artifacts. */
export const FIGURES_HOLDER = '{pilum}:figures';

/** String that expires: an API lives that asks nobody for a key. */
export const KEYLESS_API = '{pilum}:keylessApi';

/** Channel: `<namespace>/<artifactId>` of a queue that just got a job. */
export const CHANNEL_WORK = 'pilum:work';
/** Channel: `<namespace>/<taskId>` of a task that was settled from outside while a worker may run it. */
export const CHANNEL_CANCEL = 'pilum:cancel';
/** Channel: `<namespace>/<artifactId>` whose versions, aliases or settings changed. */
export const CHANNEL_CHANGED = 'pilum:changed';
/** Channel: `<namespace>/<name>` of a secret that was set or deleted. */
export const CHANNEL_SECRETS = 'pilum:secrets';
/** Prefix of the channel on which one worker process is handed jobs for the slots that it has offered; its name follows. */
export const HAND_OVER_PREFIX = 'pilum:hand-over:';
export const handOverChannel = (workerProcess: string) => `${HAND_OVER_PREFIX}${workerProcess}`;
/** Channel on which one worker hears what an operator wants of it. */
export const workerChannel = (workerId: string) => `pilum:worker:${workerId}`;
/** Channel of one task: what it gives while it runs, and its outcome where someone reads that. */
export const outputChannel = (ref: TaskRef) => `pilum:output:${qualifiedTaskId(ref)}`;
/** Channel on which one worker process hears how far the readers are that may hold back its functions. */
export const paceChannel = (workerProcess: string) => `pilum:pace:${workerProcess}`;
/** Channel on which one API process hears the outcomes it waits for. */
export const replyChannel = (inboxId: string) => `pilum:reply:${inboxId}`;

/** The name of an artifact as one text; ids have no slash. */
export const qualifiedId = ({ namespace, artifactId }: ArtifactRef) => `${namespace}/${artifactId}`;

/** The name of a task as one text. */
export const qualifiedTaskId = ({ namespace, taskId }: TaskRef) => `${namespace}/${taskId}`;

export function parseQualifiedId(qualified: string): ArtifactRef {
  const slash = qualified.indexOf('/');
  return { namespace: qualified.slice(0, slash), artifactId: qualified.slice(slash + 1) };
}
