import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import { parseQualifiedId, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Alias, Artifact, ArtifactSettings, Version } from '@pilum/core/schemas/artifact.ts';
import { type ArtifactStore, versionNotFound } from '@pilum/core/store/artifact-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';

/** An artifact with all that hangs on it, as it was read at one moment. */
export interface ArtifactView {
  readonly artifact: Artifact;
  /** Newest first. */
  readonly versions: readonly Version[];
  readonly aliases: readonly Alias[];
}

/** What a call of an artifact needs to know. */
export interface Callable {
  readonly version: Version;
  readonly settings: ArtifactSettings;
}

/** How long a view is used without news: what a lost message costs at most, ms. */
const FRESH_MS = 5000;
/** Views that are kept. */
const MAX_VIEWS = 2000;

/** Turns `id`, `id@3` and `id@live` into a version, mostly without asking Redis. */
export class ArtifactResolver {
  readonly #artifacts: ArtifactStore;
  /** In order of last use. */
  readonly #views = new Map<string, { readonly view: Promise<ArtifactView | null>; readonly readAt: number }>();

  constructor(artifacts: ArtifactStore) {
    this.#artifacts = artifacts;
  }

  /**
   * @param reference of the form of {@link ArtifactReference}
   * @throws ArtifactError `ARTIFACT_NOT_FOUND`, `VERSION_NOT_FOUND`, `ALIAS_NOT_FOUND`, `ARTIFACT_NOT_READY`
   */
  async resolve(namespace: string, reference: string): Promise<Callable> {
    const [artifactId = '', selector] = reference.split('@', 2);
    const view = await this.view(namespace, artifactId);
    if (view === null) throw artifactNotFound(artifactId);
    const { settings } = view.artifact;
    if (selector === undefined) return { version: newestOrLive(view), settings };
    const version = /^[0-9]+$/.test(selector) ? versionOf(view, Number(selector)) : versionOfAlias(view, selector);
    if (version.state !== 'ready' && version.state !== 'deprecated') throw notReady(version);
    return { version, settings };
  }

  /** The artifact as it was at most a few seconds ago; null where there is none. */
  async view(namespace: string, artifactId: string): Promise<ArtifactView | null> {
    const key = qualifiedId(namespace, artifactId);
    const known = this.#views.get(key);
    if (known !== undefined && Date.now() - known.readAt < FRESH_MS) {
      this.#views.delete(key);
      this.#views.set(key, known);
      return await known.view;
    }
    const entry = { view: this.#read(namespace, artifactId), readAt: Date.now() };
    this.#views.set(key, entry);
    for (const [oldest] of this.#views) {
      if (this.#views.size <= MAX_VIEWS) break;
      this.#views.delete(oldest);
    }
    // Neither a failure nor an absence is kept: both may be over with the next call.
    const forget = () => {
      if (this.#views.get(key) === entry) this.#views.delete(key);
    };
    const view = await entry.view.catch((error: unknown) => {
      forget();
      throw error;
    });
    if (view === null) forget();
    return view;
  }

  /** Something about an artifact has changed: the next call reads it again. */
  forget(namespace: string, artifactId: string): void {
    this.#views.delete(qualifiedId(namespace, artifactId));
  }

  /** The same, for a message of {@link CHANNEL_CHANGED}. */
  onChanged(message: string): void {
    const { namespace, artifactId } = parseQualifiedId(message);
    this.forget(namespace, artifactId);
  }

  forgetAll(): void {
    this.#views.clear();
  }

  async #read(namespace: string, artifactId: string): Promise<ArtifactView | null> {
    const [artifact, versions, aliases] = await Promise.all([
      this.#artifacts.artifact(namespace, artifactId),
      this.#artifacts.versions(namespace, artifactId),
      this.#artifacts.aliases(namespace, artifactId),
    ]);
    return artifact === null ? null : { artifact, versions, aliases };
  }
}

function newestOrLive(view: ArtifactView): Version {
  const version = currentVersion(view.versions, view.aliases);
  if (version !== null) return version;
  const newest = view.versions[0];
  throw new ArtifactError('ARTIFACT_NOT_READY', {
    message:
      newest === undefined
        ? `Artifact ${view.artifact.id} has no version.`
        : `Artifact ${view.artifact.id} has no version that is ready; its newest, ${newest.version}, is ${newest.state}.`,
    details: { artifactId: view.artifact.id },
  });
}

function versionOf(view: ArtifactView, number: number): Version {
  const version = view.versions.find((candidate) => candidate.version === number);
  if (version === undefined) throw versionNotFound(view.artifact.id, number);
  return version;
}

function versionOfAlias(view: ArtifactView, name: string): Version {
  const alias = view.aliases.find((candidate) => candidate.name === name);
  if (alias === undefined) throw aliasNotFound(view.artifact.id, name);
  return versionOf(view, alias.version);
}

function notReady({ artifactId, version, state }: Version): ArtifactError {
  return new ArtifactError('ARTIFACT_NOT_READY', {
    message: `Version ${version} of ${artifactId} is ${state}.`,
    details: { artifactId, version, state },
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
