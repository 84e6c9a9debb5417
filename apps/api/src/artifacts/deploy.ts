import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Verdict } from '@pilum/core/archives/judge.ts';
import { errorFromData, type RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { CodeLocation, Version } from '@pilum/core/schemas/artifact.ts';
import { type ArtifactSpecInput, isFixedImage } from '@pilum/core/schemas/artifact-spec.ts';
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

export interface DeployDeps {
  readonly artifacts: ArtifactStore;
  readonly blobs: BlobStore;
  readonly queues: TaskQueues;
  readonly resolver: ArtifactResolver;
  /** Why nobody could make a version ready that needs a worker for that; null where somebody can. */
  readonly whyNobody: (spec: Version['spec']) => Promise<RuntimeError | null>;
  readonly allowHostNetwork: boolean;
  /** Whether a version is started once before it is ready, where its spec does not say otherwise. */
  readonly checksDeploys: boolean;
  /** The image for code of a language that names none. */
  readonly images: ResolveOptions['images'];
}

/** What a deployment has come to. */
export interface Deployment {
  readonly version: Version;
  readonly isNew: boolean;
  /** A bare artifact id means this version now. */
  readonly isCurrent: boolean;
}

/** How long a deployment waits for a worker that makes the version ready, ms; then it goes on by itself. */
export const DEPLOY_WAIT_MS = 10_000;
/** Between two looks at it, ms: the first ones follow each other fast, since an image is often there already. */
const FIRST_LOOK_MS = 20;
const LAST_LOOK_MS = 500;

/** Turns a spec into a version: code stored, version added, queue set up, ready. For an image a worker makes it ready. */
export class Deployer {
  readonly #deps: DeployDeps;

  constructor(deps: DeployDeps) {
    this.#deps = deps;
  }

  /**
   * Adds a version, or finds the one that has the same spec and code; what a bare id means is that one when it is ready.
   * @throws RequestError `VALIDATION_FAILED`, `NOT_IMPLEMENTED`, `FORBIDDEN`, `PAYLOAD_TOO_LARGE`; ArtifactError
   *   `BLOB_NOT_FOUND`, `RUNTIME_IS_FIXED`, `STORE_FULL`; where it needs an image also `IMAGE_UNAVAILABLE`, and RuntimeError
   *   `NO_WORKER`, before anything is added
   */
  async deploy(
    { namespace }: Principal,
    artifactId: string,
    input: ArtifactSpecInput,
    waitMs = DEPLOY_WAIT_MS,
  ): Promise<Deployment> {
    const { artifacts, blobs, resolver } = this.#deps;
    const { spec: asked, code: source } = resolveSpec(input, this.#deps);
    const layers = await pinLayers(resolver, namespace, asked.dependsOn);
    const spec = { ...asked, dependsOn: layers.map(pinnedReference) };
    const takesImage = needsImage(spec.runtime);
    const isStarted = this.#isStartedFirst(spec, source !== null, input.check);
    const needsWorker = takesImage || isStarted;
    const obstacle = needsWorker ? await this.#deps.whyNobody(spec) : null;
    if (takesImage && obstacle !== null) throw obstacle;
    const code = source === null ? null : await this.#store(namespace, source, neededFiles(spec));
    const digests = digestsOf({ code, layers });
    try {
      for (const digest of digests) await blobs.refer(namespace, digest, artifactId);
      if (spec.runtime === 'wasm' && code !== null) await checkModule(blobs.read(namespace, code.digest), spec);
      const hash = contentHash(spec, code);
      const content = {
        contentHash: hash,
        spec,
        code,
        ...(layers.length === 0 ? {} : { layers }),
        ...(isStarted ? { preparation: waitingFor(obstacle) } : {}),
      };
      const mayHaveMoved = spec.code?.image !== undefined && !isFixedImage(spec.code.image);
      const { version, isNew } = await artifacts.addVersion(namespace, artifactId, content, mayHaveMoved);
      await this.#makeReady(namespace, artifactId, version, spec.runtime, needsWorker);
      const added = needsWorker
        ? await this.#prepared(namespace, artifactId, version, obstacle === null ? waitMs : 0)
        : await artifacts.version(namespace, artifactId, version);
      if (added !== null) return { version: added, isNew, isCurrent: await this.#isCurrent(namespace, added) };
      // It came to what another version is already, or was deleted in the same moment.
      const same = await artifacts.versionOfContent(namespace, artifactId, hash);
      if (same === null) throw versionNotFound(artifactId, version);
      return { version: same, isNew: false, isCurrent: await this.#isCurrent(namespace, same) };
    } catch (error) {
      for (const digest of digests) await this.#letGo(namespace, artifactId, digest);
      throw error;
    } finally {
      resolver.forget(namespace, artifactId);
    }
  }

  /** Stores what is not stored yet, and checks that what is needed of it is there. */
  async #store(namespace: string, source: CodeSource, needed: readonly NeededFile[]): Promise<CodeLocation> {
    const { blobs } = this.#deps;
    if (source.fileName !== undefined) {
      // One file may always be executed.
      const name = posix.normalize(source.fileName);
      checkFiles(needed, { found: { [name]: 'program' }, names: [name] });
    }
    if (source.kind === 'inline') {
      const bytes = Buffer.from(source.text, 'utf8');
      const digest = `sha256:${sha256Of(bytes)}`;
      if ((await blobs.info(namespace, digest)) === null) await blobs.put(namespace, digest, [bytes]);
      return { digest, format: 'file', sizeBytes: bytes.length, fileName: source.fileName };
    }
    const { digest, format, fileName } = source;
    const sizeBytes = (await blobs.info(namespace, digest))?.sizeBytes ?? 0;
    if (format !== 'file') {
      const wanted = needed.map(({ path }) => path);
      checkFiles(needed, await checkArchive(blobs.read(namespace, digest), format, wanted));
    }
    return { digest, format, sizeBytes, ...(fileName === undefined ? {} : { fileName }) };
  }

  /** Finishes what an earlier call may have begun, too: a version that stayed `creating` becomes ready here. */
  async #makeReady(
    namespace: string,
    artifactId: string,
    version: number,
    runtime: Version['spec']['runtime'],
    needsWorker: boolean,
  ): Promise<void> {
    const { artifacts } = this.#deps;
    const state = (await artifacts.version(namespace, artifactId, version))?.state;
    // Whoever deploys it wants it again.
    if (state === 'deprecated') await artifacts.changeState(namespace, artifactId, version, 'ready');
    if (state !== 'creating') return;
    try {
      // Nobody calls a layer, and it has no tasks.
      if (!isLayer(runtime)) await this.#setUpQueue(namespace, artifactId);
      if (needsWorker) await artifacts.wantPreparation(namespace, artifactId);
      else await artifacts.changeState(namespace, artifactId, version, 'ready');
    } catch (error) {
      await artifacts.changeState(namespace, artifactId, version, 'failed').catch(() => undefined);
      throw error;
    }
  }

  /** Whether a worker is to start it before it is ready: what does not load is then known at once. */
  #isStartedFirst({ runtime, protocol }: Version['spec'], hasCode: boolean, check: boolean | undefined): boolean {
    // A command of the machine's own is started with each task, and there is nothing before.
    return runtime === 'process' && (hasCode || protocol === 'http') && (check ?? this.#deps.checksDeploys);
  }

  async #setUpQueue(namespace: string, artifactId: string): Promise<void> {
    const { artifacts, queues } = this.#deps;
    const queue = queues.of(namespace, artifactId);
    const settings = (await artifacts.artifact(namespace, artifactId))?.settings;
    await queue.configure();
    // An artifact of this id that was deleted may have left its own settings there.
    await queue.setPaused(settings?.paused ?? false);
    await queue.setMaxConcurrency(settings?.maxConcurrency ?? null);
  }

  async #isCurrent(namespace: string, { artifactId, version }: Version): Promise<boolean> {
    const { resolver } = this.#deps;
    resolver.forget(namespace, artifactId);
    const view = await resolver.view(namespace, artifactId);
    return view !== null && currentVersion(view)?.version === version;
  }

  /** The version when a worker has made it ready, or as it is when that takes long. A failure is that of the deployment. */
  async #prepared(namespace: string, artifactId: string, number: number, waitMs: number): Promise<Version | null> {
    const since = performance.now();
    for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(pauseMs * 1.5, LAST_LOOK_MS)) {
      const version = await this.#deps.artifacts.version(namespace, artifactId, number);
      if (version?.error !== undefined) {
        const { error } = version;
        throw errorFromData({ ...error, details: { ...error.details, artifactId, version: number } });
      }
      if (version?.state !== 'creating' || performance.now() - since >= waitMs) return version;
      await sleep(pauseMs);
    }
  }

  /** Drops the reference to a blob after a failure, unless a version needs it. */
  async #letGo(namespace: string, artifactId: string, digest: string): Promise<void> {
    const { artifacts, blobs } = this.#deps;
    try {
      const versions = await artifacts.versions(namespace, artifactId);
      if (!isNeeded(digest, versions)) await blobs.unrefer(namespace, digest, artifactId);
    } catch {
      // A reference too many keeps a blob; one too few would lose the code of a version.
    }
  }
}

/** @throws RequestError `VALIDATION_FAILED` where a file is missing that the spec names */
function checkFiles(needed: readonly NeededFile[], { found, names }: Pick<Verdict, 'found' | 'names'>): void {
  const problems = fileProblems(needed, found, names);
  if (problems.length > 0) throw invalid(problems);
}

/** What a version says of itself until a worker starts it. */
function waitingFor(obstacle: RuntimeError | null): NonNullable<Version['preparation']> {
  const message = obstacle === null ? 'waits for a worker to start it once' : `waits for a worker: ${obstacle.message}`;
  return { message, workerId: null, at: new Date().toISOString() };
}
