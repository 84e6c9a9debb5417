import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedLayer } from '@pilum/core/schemas/artifact.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { isLayer } from '@pilum/core/spec/runtimes.ts';
import { invalid } from '../http/validation.ts';
import type { ArtifactResolver } from './resolve.ts';

const MEBIBYTE = 1_048_576;
/** Limit of all layers of one version together, as uploaded, MiB: as much as a worker keeps by default. */
const MAX_TOTAL_MIB = 1024;

/** A layer by its reference in a spec, with the version that the reference means. */
interface Found {
  readonly layer: PinnedLayer | null;
  readonly problems: readonly Problem[];
}

/**
 * Resolves `dependsOn` into the layer versions that it means now.
 * @param references references of the form {@link ArtifactReference}
 * @throws RequestError `VALIDATION_FAILED` with the problems of all references
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

/** Returns a reference such as `fonts@3`, which keeps its meaning when a newer version is deployed. */
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
  // Another process may have deployed the layer a moment ago.
  resolver.forget({ namespace, artifactId: id });
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
