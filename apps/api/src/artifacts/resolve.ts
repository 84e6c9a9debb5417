import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import { parseQualifiedId, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Artifact, ArtifactSettings, Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import { isLayer } from '@pilum/core/spec/runtimes.ts';
import { type ArtifactStore, versionNotFound } from '@pilum/core/store/artifact-store.ts';
import { currentVersion, type Deployed, defaultAlias, unknownAlias } from '@pilum/core/store/current-version.ts';
import { requireKnown, type StoredVersion, UnknownVersion } from '@pilum/core/store/unknown-record.ts';
import { LRUCache } from 'lru-cache';

/** A consistent view of an artifact with its versions, aliases and settings. */
export interface ArtifactView extends Deployed {
  readonly artifact: Artifact;
}

/** The version and settings that a call needs. */
export interface Callable {
  readonly version: Version;
  readonly settings: ArtifactSettings;
}

/** Age up to which a view is used, ms; a lost message about a change delays the change by as much. */
const FRESH_MS = 5000;
/** Number of views that are kept. */
const MAX_VIEWS = 2000;

interface Kept {
  readonly reading: Promise<ArtifactView | null>;
  readonly readAt: number;
  /** The result of `reading`, once it is known. */
  view: ArtifactView | null;
}

/** Resolves `id`, `id@3` and `id@live` into versions, mostly from memory. */
export class ArtifactResolver {
  readonly #artifacts: ArtifactStore;
  readonly #kept = new LRUCache<string, Kept>({ max: MAX_VIEWS });

  constructor(artifacts: ArtifactStore) {
    this.#artifacts = artifacts;
  }

  /**
   * Resolves a reference into a version that can be called.
   * @param reference a reference of the form {@link ArtifactReference}
   * @throws ArtifactError `ARTIFACT_NOT_FOUND`, `VERSION_NOT_FOUND`, `ALIAS_NOT_FOUND`, `ARTIFACT_NOT_READY`; SystemError
   *   `RELEASE_TOO_OLD` for a version or an alias that this release does not know
   */
  async resolve(namespace: string, reference: string): Promise<Callable> {
    const callable = await this.#find(namespace, reference);
    if (isLayer(callable.version.spec.runtime)) throw layerCalled(callable.version.artifactId);
    return callable;
  }

  /**
   * Resolves a reference into a version, be it of a function or of a layer.
   * @throws the errors of {@link resolve}
   */
  async versionOf(namespace: string, reference: string): Promise<Version> {
    return (await this.#find(namespace, reference)).version;
  }

  /** Returns an artifact as it was at most a few seconds ago; null if it does not exist. */
  async view(ref: ArtifactRef): Promise<ArtifactView | null> {
    const key = qualifiedId(ref);
    const fresh = this.#fresh(key);
    if (fresh !== undefined) return await fresh.reading;
    const kept: Kept = { reading: this.#read(ref), readAt: Date.now(), view: null };
    this.#kept.set(key, kept);
    try {
      kept.view = await kept.reading;
      return kept.view;
    } finally {
      // Failures and absences are read again by the next call, as both may be over by then.
      if (kept.view === null && this.#kept.peek(key) === kept) this.#kept.delete(key);
    }
  }

  async #find(namespace: string, reference: string): Promise<Callable> {
    const [artifactId = '', selector] = reference.split('@', 2);
    // Each call passes here, so that an object is kept only where the view has to be read.
    const view =
      this.#fresh(qualifiedId({ namespace, artifactId }))?.view ?? (await this.view({ namespace, artifactId }));
    if (view === null) throw artifactNotFound(artifactId);
    const { settings } = view.artifact;
    if (selector === undefined) return { version: newestOrLive(view), settings };
    const version = /^[0-9]+$/.test(selector) ? versionOf(view, Number(selector)) : versionOfAlias(view, selector);
    if (version.state !== 'ready' && version.state !== 'deprecated') throw notReady(version);
    return { version, settings };
  }

  #fresh(key: string): Kept | undefined {
    const kept = this.#kept.get(key);
    return kept !== undefined && Date.now() - kept.readAt < FRESH_MS ? kept : undefined;
  }

  /** Drops the view of an artifact that has changed, so that the next call reads it again. */
  forget(ref: ArtifactRef): void {
    this.#kept.delete(qualifiedId(ref));
  }

  /** Drops the view of the artifact that a message of {@link CHANNEL_CHANGED} names. */
  onChanged(message: string): void {
    this.forget(parseQualifiedId(message));
  }

  forgetAll(): void {
    this.#kept.clear();
  }

  async #read(ref: ArtifactRef): Promise<ArtifactView | null> {
    const [artifact, versions, aliases, deployments] = await Promise.all([
      this.#artifacts.artifact(ref),
      this.#artifacts.versions(ref),
      this.#artifacts.aliases(ref),
      this.#artifacts.deployments(ref),
    ]);
    return artifact === null ? null : { artifact, versions, aliases, deployments };
  }
}

function newestOrLive(view: ArtifactView): Version {
  const version = currentVersion(view);
  if (version !== null) return requireKnown(version);
  const live = defaultAlias(view.aliases);
  if (live?.version === null) throw unknownAlias(view.artifact.id, live.name).error();
  const newest = view.versions[0];
  throw new ArtifactError('ARTIFACT_NOT_READY', {
    message:
      newest === undefined
        ? `Artifact ${view.artifact.id} has no version.`
        : `Artifact ${view.artifact.id} has no version that is ready; its newest, ${newest.version}, is ${standing(newest)}.`,
    ...hintFor(newest),
    details: { artifactId: view.artifact.id },
  });
}

/** Describes the state of a version: `creating (pulling app:1: 3 of 7 layers, 12 of 80 MiB)`, `failed (The image app:1 …)`. */
function standing(version: StoredVersion): string {
  const { state, preparation, error } = version instanceof UnknownVersion ? version.shown : version;
  const why = state === 'creating' ? preparation?.message : error?.message;
  return why === undefined ? state : `${state} (${why})`;
}

function hintFor(version: StoredVersion | undefined): { hint?: string } {
  if (version?.state !== 'creating') return {};
  const { artifactId, version: number } = version;
  return { hint: `Call again when GET /v1/artifacts/${artifactId}/versions/${number} says ready.` };
}

function versionOf(view: ArtifactView, number: number): Version {
  const version = view.versions.find((candidate) => candidate.version === number);
  if (version === undefined) throw versionNotFound(view.artifact.id, number);
  return requireKnown(version);
}

function versionOfAlias(view: ArtifactView, name: string): Version {
  const alias = view.aliases.find((candidate) => candidate.name === name);
  if (alias === undefined) throw aliasNotFound(view.artifact.id, name);
  if (alias.version === null) throw unknownAlias(view.artifact.id, name).error();
  return versionOf(view, alias.version);
}

function notReady(found: Version): ArtifactError {
  const { artifactId, version, state } = found;
  return new ArtifactError('ARTIFACT_NOT_READY', {
    message: `Version ${version} of ${artifactId} is ${standing(found)}.`,
    ...hintFor(found),
    details: { artifactId, version, state },
  });
}

function layerCalled(artifactId: string): ArtifactError {
  return new ArtifactError('ARTIFACT_NOT_READY', {
    message: `Artifact ${artifactId} is a layer: it holds files, and cannot be called.`,
    hint: `Name the layer in dependsOn of another artifact, which then finds the files in /opt/${artifactId}.`,
    details: { artifactId },
  });
}

export function artifactNotFound(artifactId: string): ArtifactError {
  return new ArtifactError('ARTIFACT_NOT_FOUND', {
    message: `There is no artifact ${artifactId} in this namespace.`,
    details: { artifactId },
  });
}

export function aliasNotFound(artifactId: string, name: string): ArtifactError {
  return new ArtifactError('ALIAS_NOT_FOUND', {
    message: `Artifact ${artifactId} has no alias ${name}.`,
    details: { artifactId, alias: name },
  });
}
