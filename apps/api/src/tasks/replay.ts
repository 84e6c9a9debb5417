import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { matches, type Problem } from '@pilum/core/schemas/check.ts';
import { Name, VersionNumber } from '@pilum/core/schemas/names.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { sha256Of } from '../artifacts/content-hash.ts';
import { parseJsonBody } from '../http/json-body.ts';
import { invalid } from '../http/validation.ts';
import { shapeOf } from './media-type.ts';

/** The changes that a retry by hand makes to the old task. */
export interface Changes {
  /** The number of a version or the name of an alias; null for the version of the old task. */
  readonly version: number | string | null;
  /** The new payload as JSON text; null for the payload of the old task. */
  readonly payload: string | null;
}

export const NO_CHANGES: Changes = { version: null, payload: null };

/**
 * Reads the body of a retry: `{"version"?, "payload"?}`.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function readChanges(bytes: Buffer): Changes {
  const body = parseJsonBody(bytes);
  if (body === undefined) return NO_CHANGES;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid([{ where: '/body', what: 'must be an object' }]);
  }
  const { version = null, payload, ...unknown } = body as Record<string, unknown>;
  const problems: Problem[] = Object.keys(unknown).map((name) => ({
    where: '/body',
    what: `has a field that is not known here: ${JSON.stringify(name)}`,
  }));
  if (!isVersion(version)) problems.push({ where: '/body/version', what: VERSION_FORM });
  if (problems.length > 0) throw invalid(problems);
  return { version: version as Changes['version'], payload: payload === undefined ? null : textOfPayload(bytes) };
}

const VERSION_FORM = 'must be the number of a version or the name of an alias, such as live';

function isVersion(value: unknown): value is Changes['version'] {
  return value === null || matches(VersionNumber, value) || (matches(Name, value) && !/^[0-9]+$/.test(value));
}

/** `JSON.rawJSON`, which TypeScript's types lack. */
interface RawJson {
  rawJSON(text: string): unknown;
}

/** Returns the payload exactly as it was written, so that no number loses digits. */
function textOfPayload(body: Buffer): string {
  const exact = (_key: string, value: unknown, { source }: { source?: string }) =>
    typeof value === 'number' && source !== undefined ? (JSON as unknown as RawJson).rawJSON(source) : value;
  const parsed = JSON.parse(body.toString('utf8'), exact as (key: string, value: unknown) => unknown);
  return JSON.stringify((parsed as { payload: unknown }).payload);
}

/** Returns the reference of the version for a retry. `live` means the bare id, with or without such an alias. */
export function referenceOf({ artifactId, version }: Ticket, changes: Changes): string {
  const wanted = changes.version ?? version;
  return wanted === 'live' ? artifactId : `${artifactId}@${wanted}`;
}

/** The payload of a retry: its bytes and its fields in the ticket. */
export interface NewPayload {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/**
 * Returns the new payload of a retry: JSON, or text if the old payload was text and the new one is a string.
 * @throws RequestError `PAYLOAD_TOO_LARGE`
 */
export function newPayload(old: Ticket, json: string, limitBytes: number): NewPayload {
  const shape = shapeOf(old.contentType);
  const isText = shape === 'text' && json.startsWith('"');
  const bytes = Buffer.from(isText ? (JSON.parse(json) as string) : json, 'utf8');
  if (bytes.length > limitBytes) {
    throw new RequestError('PAYLOAD_TOO_LARGE', {
      message: `The payload is larger than the limit of ${Number((limitBytes / 1_048_576).toFixed(3))} MiB.`,
      hint: 'The operator can raise PILUM_PAYLOAD_LIMIT_MIB.',
      details: { limitBytes },
    });
  }
  return { bytes, contentType: isText || shape === 'json' ? old.contentType : 'application/json' };
}

/** Returns the ticket fields that a new version determines. Options that the old call has set itself stay. */
export function limitsOf(old: Ticket, before: Version | undefined, { spec, code, version }: Version) {
  const own = <T>(had: T, usual: (spec: ArtifactSpec) => T): T =>
    before !== undefined && had === usual(before.spec) ? usual(spec) : had;
  return {
    version,
    digest: code?.digest ?? null,
    runTimeoutMs: own(old.runTimeoutMs, ({ timeouts }) => timeouts.runMs),
    maxAttempts: own(old.maxAttempts, ({ retry }) => retry.attempts),
    ...(spec.retry.recoveries === undefined ? {} : { maxRecoveries: spec.retry.recoveries }),
  };
}

/** Returns a key that is equal for equal changes, so that asking twice is one retry; empty for no changes. */
export function nameOfRetry(old: Ticket, version: number, payload: NewPayload | null): string {
  if (version === old.version && payload === null) return '';
  return `${version} ${payload === null ? '' : sha256Of(payload.bytes)}`;
}
