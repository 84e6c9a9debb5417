import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { ArtifactSettings, ArtifactSettingsInput } from '@pilum/core/schemas/artifact.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { isLayer } from '@pilum/core/spec/runtimes.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import type { Principal } from '../auth/principal.ts';
import { invalid } from '../http/validation.ts';
import { concurrencyWarnings } from './concurrency-warnings.ts';
import { type ArtifactResolver, artifactNotFound } from './resolve.ts';

export interface SettingsDeps {
  readonly artifacts: ArtifactStore;
  readonly queues: TaskQueues;
  readonly resolver: ArtifactResolver;
  readonly workers: { list(): Promise<readonly WorkerInfo[]> };
}

/** The settings of an artifact, with warnings about those that exceed the live workers. */
export type ChangedSettings = ArtifactSettings & { warnings?: string[] };

/**
 * Changes the settings that are given and leaves the others.
 * @throws ArtifactError `ARTIFACT_NOT_FOUND`; RequestError `VALIDATION_FAILED` for a layer
 */
export async function changeSettings(
  { artifacts, queues, resolver, workers }: SettingsDeps,
  { namespace }: Principal,
  artifactId: string,
  input: ArtifactSettingsInput,
): Promise<ChangedSettings> {
  const ref = { namespace, artifactId };
  const artifact = await artifacts.artifact(ref);
  if (artifact === null) throw artifactNotFound(artifactId);
  if (isLayer(artifact.runtime)) {
    throw invalid([{ where: '/path/id', what: `names ${artifactId}, a layer: settings are for what is called` }]);
  }
  const settings: ArtifactSettings = {
    paused: input.paused ?? artifact.settings.paused,
    maxConcurrency: input.maxConcurrency === undefined ? artifact.settings.maxConcurrency : input.maxConcurrency,
    weight: input.weight ?? artifact.settings.weight,
    reserved: input.reserved ?? artifact.settings.reserved,
    maxBacklog: input.maxBacklog ?? artifact.settings.maxBacklog,
    maxBacklogMiB: input.maxBacklogMiB ?? artifact.settings.maxBacklogMiB,
  };
  const queue = queues.of(ref);
  // The settings that callers see are written last, when they already hold.
  if (input.paused !== undefined) await queue.setPaused(settings.paused);
  if (input.maxConcurrency !== undefined) await queue.setMaxConcurrency(settings.maxConcurrency);
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  await artifacts.changeSettings(ref, given);
  resolver.forget(ref);
  const view = await resolver.view(ref);
  const warnings = concurrencyWarnings(settings, view && currentVersion(view), await workers.list());
  return warnings.length === 0 ? settings : { ...settings, warnings };
}
