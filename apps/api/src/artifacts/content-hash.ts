import { createHash } from 'node:crypto';
import type { Version } from '@pilum/core/schemas/artifact.ts';

export const sha256Of = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** Returns a hash that is equal for equal specs with equal code; the order of fields does not matter. */
export function contentHash(spec: Version['spec'], code: Version['code']): string {
  return sha256Of(canonicalJson({ spec, code: code === null ? null : { ...code, sizeBytes: undefined } }));
}

/** Returns JSON with sorted fields, so that equal values have equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
