import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedLayer } from '@pilum/core/schemas/artifact.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { isLayer } from '@pilum/core/spec/runtimes.ts';
import { invalid } from '../http/validation.ts';
import type { ArtifactResolver } from './resolve.ts';

const MEBIBYTE = 1_048_576;
/** What the layers of one version may have together, as they were uploaded, MiB: as much as a worker keeps by default. */
const MAX_TOTAL_MIB = 1024;

/** One layer as a spec names it, and what that was found to mean. */
interface Found {
  readonly layer: PinnedLayer | null;
  readonly problems: readonly Problem[];
}

/**
 * The versions that `dependsOn` means now.
 * @param references of the form of {@link ArtifactReference}
 * @throws RequestError `VALIDATION_FAILED` with every problem of all of them at once
 */
export async function pinLayers(
  resolver: ArtifactResolver,
  namespace: string,
  references: readonly string[],
): Promise<PinnedLayer[]> {
  const found = await Promise.all(references.map((_, index) => findLayer(resolver, namespace, references, index)));
  const layers = found.flatMap(({ layer }) => layer ?? []);
  const problems = [...found.flatMap((one) => one.problems), ...sizeProblems(layers)];
  if (problems.length > 0) throw invalid(problems);
  return layers;
}

/** `fonts@3`: what a spec says in place of a name that may come to mean another version. */
export const pinnedReference = ({ artifactId, version }: PinnedLayer) => `${artifactId}@${version}`;

async function findLayer(
  resolver: ArtifactResolver,
  namespace: string,
  references: readonly string[],
  index: number,
): Promise<Found> {
  const reference = references[index] ?? '';
  const problem = (what: string): Found => ({ layer: null, problems: [{ where: `/body/dependsOn/${index}`, what }] });
  const id = idOf(reference);
  const first = references.findIndex((other) => idOf(other) === id);
  if (first < index) return problem(`names ${id} again, as /body/dependsOn/${first} does: a layer is there once`);
  // It may have been deployed a moment ago, by another process.
  resolver.forget(namespace, id);
  try {
    const { artifactId, version, code, spec } = await resolver.versionOf(namespace, reference);
    if (!isLayer(spec.runtime) || code === null) {
      return problem(`names ${reference}, which is no layer: its runtime is ${spec.runtime}`);
    }
    return { layer: { artifactId, version, code }, problems: [] };
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    return problem(`names ${reference}, which cannot be had: ${error.message.replace(/\.$/, '')}`);
  }
}

function sizeProblems(layers: readonly PinnedLayer[]): Problem[] {
  const totalMiB = layers.reduce((sum, { code }) => sum + code.sizeBytes, 0) / MEBIBYTE;
  if (totalMiB <= MAX_TOTAL_MIB) return [];
  const what = `has layers of ${Math.ceil(totalMiB)} MiB, and they may have ${MAX_TOTAL_MIB} MiB together`;
  return [{ where: '/body/dependsOn', what }];
}

const idOf = (reference: string) => reference.split('@', 1)[0] ?? '';
