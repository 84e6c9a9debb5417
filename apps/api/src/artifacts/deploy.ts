import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Verdict } from '@pilum/core/archives/judge.ts';
import { errorFromData, type RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { CodeLocation, Version } from '@pilum/core/schemas/artifact.ts';
import { type ArtifactSpecInput, isFixedImage } from '@pilum/core/schemas/artifact-spec.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import type { KeySource } from '@pilum/core/secrets/key-source.ts';
import { keyMissing } from '@pilum/core/secrets/secret-keys.ts';
import type { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { isLayer, needsImage } from '@pilum/core/spec/runtimes.ts';
import { type ArtifactStore, versionNotFound } from '@pilum/core/store/artifact-store.ts';
import type { BlobStore } from '@pilum/core/store/blob-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import type { Principal } from '../auth/principal.ts';
import { invalid } from '../http/validation.ts';
import { checkArchive } from './archive-check.ts';
import { digestsOf, isNeeded } from './blob-use.ts';
import type { CodeSource } from './code-source.ts';
import { contentHash, sha256Of } from './content-hash.ts';
import { fileProblems, type NeededFile, neededFiles } from './entry-check.ts';
import { checkModule } from './module-check.ts';
import { pinLayers, pinnedReference } from './pin-layers.ts';
import type { ArtifactResolver } from './resolve.ts';
import { type ResolveOptions, resolveSpec } from './resolve-spec.ts';
import { secretNames, secretsNeeded, secretValueProblems } from './secret-spec.ts';

export interface DeployDeps {
  readonly artifacts: ArtifactStore;
  readonly blobs: BlobStore;
  readonly secrets: SecretStore;
  readonly keys: KeySource;
  readonly queues: TaskQueues;
  readonly resolver: ArtifactResolver;
  /**
   * Returns the error for a version that no live worker can make ready; null if one can.
   * @throws RequestError `VALIDATION_FAILED` for an interpreter that none of them has
   */
  readonly whyNobody: (spec: Version['spec']) => Promise<RuntimeError | null>;
  readonly allowHostNetwork: boolean;
  /** Whether a worker starts a version once before it is ready, unless the spec decides that itself. */
  readonly checksDeploys: boolean;
  /** Images by language, for code whose spec names none. */
  readonly images: ResolveOptions['images'];
}

/** The result of a deployment. */
export interface Deployment {
  readonly version: Version;
  readonly isNew: boolean;
  /** Whether a bare artifact id means this version now. */
  readonly isCurrent: boolean;
}

/** Default wait of a caller for a version to become ready, ms; the deployment goes on after it. */
export const DEPLOY_WAIT_MS = 10_000;
/** First pause between two reads of the version, ms. Pauses grow; the first is short because an image is often present already. */
const FIRST_LOOK_MS = 20;
const LAST_LOOK_MS = 500;

/** Makes a version of a spec: stores the code, adds the version, sets up its queue, and makes it ready or has a worker do so. */
export class Deployer {
  readonly #deps: DeployDeps;

  constructor(deps: DeployDeps) {
    this.#deps = deps;
  }

  /**
   * Adds a version, or finds the one with the same spec and code. Once ready, that version is the one that a bare id means.
   * @throws RequestError `VALIDATION_FAILED`, `NOT_IMPLEMENTED`, `FORBIDDEN`, `PAYLOAD_TOO_LARGE`; ArtifactError
   *   `BLOB_NOT_FOUND`, `SECRET_NOT_FOUND`, `RUNTIME_IS_FIXED`, `STORE_FULL`; RuntimeError `SECRETS_UNAVAILABLE`; for a version with an image also `IMAGE_UNAVAILABLE`, and RuntimeError
   *   `NO_WORKER`, before anything is added
   */
  async deploy(
    { namespace }: Principal,
    artifactId: string,
    input: ArtifactSpecInput,
    waitMs = DEPLOY_WAIT_MS,
  ): Promise<Deployment> {
    const { artifacts, blobs, resolver } = this.#deps;
    const artifact = { namespace, artifactId };
    const { spec: asked, code: source } = resolveSpec(input, this.#deps);
    const layers = await pinLayers(resolver, namespace, asked.dependsOn);
    const spec = { ...asked, dependsOn: layers.map(pinnedReference) };
    const takesImage = needsImage(spec.runtime);
    const isStarted = this.#isStartedFirst(spec, source !== null, input.check);
    const needsWorker = takesImage || isStarted;
    const asksWorkers = needsWorker || spec.interpreter !== undefined;
    const obstacle = asksWorkers ? await this.#deps.whyNobody(spec) : null;
    if (takesImage && obstacle !== null) throw obstacle;
    const code = source === null ? null : await this.#store(namespace, source, neededFiles(spec));
    const digests = digestsOf({ code, layers });
    try {
      await this.#referSecrets(artifact, spec);
      for (const digest of digests) await blobs.refer({ namespace, digest }, artifactId);
      if (spec.runtime === 'wasm' && code !== null)
        await checkModule(blobs.read({ namespace, digest: code.digest }), spec);
      const hash = contentHash(spec, code);
      const content = {
        contentHash: hash,
        spec,
        code,
        ...(layers.length === 0 ? {} : { layers }),
        ...(isStarted ? { preparation: waitingFor(obstacle) } : {}),
      };
      const mayHaveMoved = spec.code?.image !== undefined && !isFixedImage(spec.code.image);
      const { version, isNew } = await artifacts.addVersion(artifact, content, mayHaveMoved);
      await this.#makeReady(artifact, version, spec.runtime, needsWorker);
      const added = needsWorker
        ? await this.#prepared(artifact, version, obstacle === null ? waitMs : 0)
        : await artifacts.version(artifact, version);
      if (added !== null) return { version: added, isNew, isCurrent: await this.#isCurrent(namespace, added) };
      // Another deployment has added the same version meanwhile, or the artifact was deleted.
      const same = await artifacts.versionOfContent(artifact, hash);
      if (same === null) throw versionNotFound(artifactId, version);
      return { version: same, isNew: false, isCurrent: await this.#isCurrent(namespace, same) };
    } catch (error) {
      for (const digest of digests) await this.#letGo(artifact, digest);
      await this.#letGoSecrets(artifact, spec);
      throw error;
    } finally {
      resolver.forget(artifact);
    }
  }

  /** Stores the code unless it is stored already, and checks that it contains the needed files. */
  async #store(namespace: string, source: CodeSource, needed: readonly NeededFile[]): Promise<CodeLocation> {
    const { blobs } = this.#deps;
    if (source.fileName !== undefined) {
      // Code of a single file is always executable.
      const name = posix.normalize(source.fileName);
      checkFiles(needed, { found: { [name]: 'program' }, names: [name] });
    }
    if (source.kind === 'inline') {
      const bytes = Buffer.from(source.text, 'utf8');
      const digest = `sha256:${sha256Of(bytes)}`;
      const blob = { namespace, digest };
      if ((await blobs.info(blob)) === null) await blobs.put(blob, [bytes]);
      return { digest, format: 'file', sizeBytes: bytes.length, fileName: source.fileName };
    }
    const { digest, format, fileName } = source;
    const blob = { namespace, digest };
    const sizeBytes = (await blobs.info(blob))?.sizeBytes ?? 0;
    if (format !== 'file') {
      const wanted = needed.map(({ path }) => path);
      checkFiles(needed, await checkArchive(blobs.read(blob), format, wanted));
    }
    return { digest, format, sizeBytes, ...(fileName === undefined ? {} : { fileName }) };
  }

  /** Makes a version ready, even one that an interrupted call has left in `creating`. */
  async #makeReady(
    ref: ArtifactRef,
    version: number,
    runtime: Version['spec']['runtime'],
    needsWorker: boolean,
  ): Promise<void> {
    const { artifacts } = this.#deps;
    const state = (await artifacts.version(ref, version))?.state;
    // Deploying a deprecated version again takes the deprecation back.
    if (state === 'deprecated') await artifacts.changeState(ref, version, 'ready');
    if (state !== 'creating') return;
    try {
      // A layer cannot be called, so it has no queue.
      if (!isLayer(runtime)) await this.#setUpQueue(ref);
      if (needsWorker) await artifacts.wantPreparation(ref);
      else await artifacts.changeState(ref, version, 'ready');
    } catch (error) {
      await artifacts.changeState(ref, version, 'failed').catch(() => undefined);
      throw error;
    }
  }

  /** Tells whether a worker starts a version once before it is ready, so that code which fails to load is known at once. */
  #isStartedFirst({ runtime, protocol }: Version['spec'], hasCode: boolean, check: boolean | undefined): boolean {
    // A command without code starts anew for each task, so starting it once would prove nothing.
    return runtime === 'process' && (hasCode || protocol === 'http') && (check ?? this.#deps.checksDeploys);
  }

  async #setUpQueue(ref: ArtifactRef): Promise<void> {
    const { artifacts, queues } = this.#deps;
    const queue = queues.of(ref);
    const settings = (await artifacts.artifact(ref))?.settings;
    await queue.configure();
    // A deleted artifact with the same id may have left its setting in the queue.
    await queue.setPaused(settings?.paused ?? false);
    await queue.setMaxConcurrency(settings?.maxConcurrency ?? null);
  }

  async #isCurrent(namespace: string, { artifactId, version }: Version): Promise<boolean> {
    const { resolver } = this.#deps;
    const artifact = { namespace, artifactId };
    resolver.forget(artifact);
    const view = await resolver.view(artifact);
    return view !== null && currentVersion(view)?.version === version;
  }

  /** Waits until a worker has made a version ready, and returns the version as it is by then. A failed version fails the deployment. */
  async #prepared(ref: ArtifactRef, number: number, waitMs: number): Promise<Version | null> {
    const { artifactId } = ref;
    const since = performance.now();
    for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(pauseMs * 1.5, LAST_LOOK_MS)) {
      const version = await this.#deps.artifacts.version(ref, number);
      if (version?.error !== undefined) {
        const { error } = version;
        throw errorFromData({ ...error, details: { ...error.details, artifactId, version: number } });
      }
      if (version?.state !== 'creating' || performance.now() - since >= waitMs) return version;
      await sleep(pauseMs);
    }
  }

  /**
   * Notes the secrets of a spec, and checks that they can be what it wants, as far as that is known without their values.
   * @throws ArtifactError `SECRET_NOT_FOUND`; RuntimeError `SECRETS_UNAVAILABLE`; RequestError `VALIDATION_FAILED`
   */
  async #referSecrets(ref: ArtifactRef, { secrets }: Version['spec']): Promise<void> {
    const names = secretNames(secrets);
    if (names.length === 0) return;
    const records = await this.#deps.secrets.refer(ref, names);
    const problems = secretValueProblems(secrets, records);
    if (problems.length > 0) throw invalid(problems);
    // What is encrypted under a key that is unknown here would fail at the start of the first instance.
    const keys = this.#deps.keys.require();
    for (const [name, { keyId }] of records) if (!keys.has(keyId)) throw keyMissing({ name }, keyId, keys.ids);
  }

  /** Drops the notes of secrets after a failure, unless another version needs them. */
  async #letGoSecrets(ref: ArtifactRef, { secrets }: Version['spec']): Promise<void> {
    const names = secretNames(secrets);
    if (names.length === 0) return;
    try {
      const versions = await this.#deps.artifacts.versions(ref);
      const needed = secretsNeeded(versions);
      const surplus = names.filter((name) => !needed.has(name));
      await this.#deps.secrets.unrefer(ref, surplus);
    } catch {
      // A surplus note only keeps a secret from being deleted without force.
    }
  }

  /** Drops the reference to a blob after a failure, unless another version needs the blob. */
  async #letGo(ref: ArtifactRef, digest: string): Promise<void> {
    const { namespace, artifactId } = ref;
    const { artifacts, blobs } = this.#deps;
    try {
      const versions = await artifacts.versions(ref);
      if (!isNeeded(digest, versions)) await blobs.unrefer({ namespace, digest }, artifactId);
    } catch {
      // A surplus reference only keeps a blob too long; a missing one would lose the code of a version.
    }
  }
}

/**
 * Checks that the code contains the files that the spec names.
 * @throws RequestError `VALIDATION_FAILED`
 */
function checkFiles(needed: readonly NeededFile[], { found, names }: Pick<Verdict, 'found' | 'names'>): void {
  const problems = fileProblems(needed, found, names);
  if (problems.length > 0) throw invalid(problems);
}

/** Returns the `preparation` of a version that waits for a worker. */
function waitingFor(obstacle: RuntimeError | null): NonNullable<Version['preparation']> {
  const message = obstacle === null ? 'waits for a worker to start it once' : `waits for a worker: ${obstacle.message}`;
  return { message, workerId: null, at: new Date().toISOString() };
}
