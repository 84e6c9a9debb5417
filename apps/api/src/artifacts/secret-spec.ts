import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { matches, type Problem } from '@pilum/core/schemas/check.ts';
import type { SecretRecord } from '@pilum/core/schemas/secret.ts';
import { isVariableName, SecretUses } from '@pilum/core/schemas/secret.ts';
import { isReadBeforeStart } from '@pilum/core/spec/early-variables.ts';
import { type Protocol, protocolRow } from '@pilum/core/spec/protocols.ts';
import type { RuntimeKind } from '@pilum/core/spec/runtimes.ts';
import { type StoredVersion, UnknownVersion } from '@pilum/core/store/unknown-record.ts';
import { isUsable } from './blob-use.ts';

/**
 * Bytes of all secrets of a version together: they become an environment, of which Linux takes two MiB with the arguments, and a frame of
 * a channel.
 */
const MOST_BYTES = 1_048_576;

/** Returns the problems of secrets that the schema cannot find. */
export function secretProblems(
  { secrets = {}, env = {} }: ArtifactSpecInput,
  runtime: RuntimeKind,
  protocol: Protocol,
): Problem[] {
  return Object.entries(secrets).flatMap(([field, { as }]): Problem[] => {
    const where = `/body/secrets/${field}`;
    if (as === 'file') {
      const why = 'is not for runtime wasm: a module has its secrets as variables';
      return runtime === 'wasm' ? [{ where: `${where}/as`, what: why }] : [];
    }
    if (!isVariableName(field)) {
      return [{ where, what: 'is not the name of a variable: A-Z, a-z, 0-9 and _, or say "as": "file"' }];
    }
    if (Object.hasOwn(env, field)) return [{ where, what: 'is a variable that env has too' }];
    if (protocolRow(protocol).setsVariables.test(field)) {
      return [{ where, what: 'is set by Pilum itself, and cannot be given' }];
    }
    if (!isReadBeforeStart(field)) return [];
    const what =
      'is read by loaders, shells or interpreters before a program runs, and cannot be a secret: take another name';
    return [{ where, what }];
  });
}

/** Returns the names of the secrets that a version uses, each once. */
export function secretNames(secrets: SecretUses | undefined): string[] {
  return [...new Set(Object.values(secrets ?? {}).map(({ name }) => name))];
}

/** Returns the names of the secrets that versions which can still run use. */
export function secretsNeeded(versions: readonly StoredVersion[]): Set<string> {
  return new Set(versions.filter(({ state }) => isUsable(state)).flatMap(secretsOf));
}

/** Returns the names of the secrets that a version uses, also one of a newer release, as far as they are written as here. */
export function secretsOf(version: StoredVersion): string[] {
  if (!(version instanceof UnknownVersion)) return secretNames(version.spec.secrets);
  const { secrets } = (version.shown.spec ?? {}) as Partial<Version['spec']>;
  return matches(SecretUses, secrets) ? secretNames(secrets) : [];
}

/** Returns the problems of what the secrets of a spec hold: bytes that no variable can hold, or too many. */
export function secretValueProblems(
  secrets: SecretUses | undefined,
  records: ReadonlyMap<string, SecretRecord>,
): Problem[] {
  const problems: Problem[] = [];
  let bytes = 0;
  for (const [field, { name, as }] of Object.entries(secrets ?? {})) {
    const record = records.get(name);
    if (record === undefined) continue;
    bytes += record.sizeBytes;
    if (as === 'file' || record.isText) continue;
    const what = `is no variable: the secret ${name} holds bytes that are not text; say "as": "file"`;
    problems.push({ where: `/body/secrets/${field}`, what });
  }
  if (bytes > MOST_BYTES) {
    problems.push({ where: '/body/secrets', what: `have ${bytes} bytes together, and may have ${MOST_BYTES}` });
  }
  return problems;
}
