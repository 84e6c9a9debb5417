import type { Readable } from 'node:stream';
import { abortable } from '@pilum/core/async/abortable.ts';
import { ArtifactError, InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import type Docker from 'dockerode';
import { LRUCache } from 'lru-cache';
import { LineSplitter } from '../../protocols/output/line-splitter.ts';
import { answered, engineAway, isAway, saidBy, statusOf } from '../engine.ts';
import { credentialsFor } from './credentials.ts';
import { isById, registryOf, withTag } from './image-reference.ts';
import { volumePaths } from './image-volumes.ts';
import { type PullEvent, PullProgress } from './pull-progress.ts';

/** Images whose facts are kept. */
const MAX_KNOWN = 1000;
const NOT_FOUND = 404;

/** The facts of an image that decide how it is run. */
export interface ImageFacts {
  readonly id: string;
  /** The image's first digest in a registry; null where the image came from no registry. */
  readonly digest: string | null;
  /** The user that the image names; empty where it names none. */
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  /** The image's own entrypoint and command; empty where it has none. */
  readonly command: readonly string[];
  /** The paths of its VOLUMEs. */
  readonly volumes: readonly string[];
  readonly sizeBytes: number;
}

export interface ImagesDeps {
  readonly engine: Docker;
  readonly host: string;
  readonly credentialsFile: string | null;
  /** Ends pulls for instances. */
  readonly closing: AbortSignal;
}

/** The images of one Engine. */
export class Images {
  readonly #deps: ImagesDeps;
  /** The facts of images by their ids: the content behind an id never changes. */
  readonly #known = new LRUCache<string, ImageFacts>({ max: MAX_KNOWN });
  /** The pulls for instances by their digest: a pull goes on when whoever asked first has given up. */
  readonly #pulls = new Map<string, Promise<void>>();

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the image that the Engine has under a name, an id or a digest; null where there is none.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE` where the Engine does not answer
   */
  async find(reference: string): Promise<ImageFacts | null> {
    const known = this.#known.get(reference);
    if (known !== undefined) return known;
    try {
      const facts = factsOf(await answered(this.#deps.engine.getImage(reference).inspect()));
      this.#known.set(facts.id, facts);
      return facts;
    } catch (error) {
      if (statusOf(error) === NOT_FOUND) return null;
      throw this.#explain(error, reference);
    }
  }

  /**
   * The image that a version was pinned to, pulled by its digest where this Engine does not have it.
   * @throws InstanceError `INSTANCE_START_FAILED` where it cannot be had; RuntimeError `RUNTIME_UNAVAILABLE`
   */
  async ensure({ id, digest, reference }: PinnedImage, signal: AbortSignal): Promise<ImageFacts> {
    const found = (await this.find(id)) ?? (digest === null ? null : await this.find(digest));
    if (found !== null) return found;
    const gone = (why: string, cause?: unknown) =>
      new InstanceError('INSTANCE_START_FAILED', {
        message: `The image ${reference} (${id}) is not on the machine of this worker ${why}.`,
        hint: 'Have the image on every machine that runs it, or in a registry; then deploy again.',
        details: { image: reference, id },
        cause,
      });
    if (digest === null) throw gone('any more, and it came from no registry');
    const pulling = this.#pulls.get(digest) ?? this.pull(digest, this.#deps.closing, () => undefined);
    this.#pulls.set(digest, pulling);
    pulling.catch(() => undefined).finally(() => this.#pulls.delete(digest));
    try {
      await abortable(pulling, signal);
    } catch (error) {
      if (error instanceof ArtifactError) throw gone(`and could not be pulled: ${error.message}`, error);
      throw error;
    }
    const pulled = await this.find(digest);
    if (pulled === null) throw gone('although it was pulled: something has removed it');
    return pulled;
  }

  /** Forgets what is known of an image: the Engine says that it does not have it. */
  forget(id: string): void {
    this.#known.delete(id);
  }

  /**
   * Pulls an image from its registry.
   * @param onProgress is told how far it is, often
   * @throws ArtifactError `IMAGE_UNAVAILABLE`; RuntimeError `RUNTIME_UNAVAILABLE` where the Engine went away or the
   *   credentials cannot be read; the signal's reason
   */
  async pull(reference: string, signal: AbortSignal, onProgress: (text: string) => void): Promise<void> {
    const authconfig = await credentialsFor(reference, this.#deps.credentialsFile);
    const progress = new PullProgress();
    try {
      const stream = (await this.#deps.engine.pull(withTag(reference), {
        abortSignal: signal,
        ...(authconfig === null ? {} : { authconfig }),
      })) as Readable;
      let failure: string | null = null;
      const lines = new LineSplitter((line) => {
        const event = eventOf(line);
        if (event === null) return;
        failure ??= event.error ?? null;
        progress.see(event);
      });
      for await (const chunk of stream) {
        lines.push(chunk as Buffer);
        onProgress(progress.text);
      }
      lines.flush();
      if (failure !== null) throw unavailable(reference, failure);
    } catch (error) {
      signal.throwIfAborted();
      throw this.#explain(error, reference);
    }
  }

  #explain(error: unknown, reference: string): unknown {
    if (isAway(error)) return engineAway(error, this.#deps.host);
    return statusOf(error) === null ? error : unavailable(reference, saidBy(error));
  }
}

/** The reasons why an image cannot be had, from what the Engine or the registry says of it. The first that fits counts. */
const REASONS: readonly {
  readonly said: RegExp;
  readonly reason: string;
  readonly what: (registry: string) => string;
}[] = [
  {
    said: /invalid reference|repository name|invalid tag/i,
    reason: 'invalid',
    what: () => 'that is no name of an image',
  },
  {
    said: /denied|unauthorized|authentication required|no basic auth/i,
    reason: 'denied',
    what: (registry) =>
      `${registry} has no such image for us: it is not there, or PILUM_DOCKER_CREDENTIALS of the worker lacks the right to it`,
  },
  {
    said: /no such host|dial tcp|i\/o timeout|connection refused|unreachable|TLS|x509|proxyconnect|misbehaving|Client\.Timeout|request canceled|EOF/i,
    reason: 'unreachable',
    what: (registry) => `the machine of the worker does not have it, and its registry ${registry} cannot be reached`,
  },
  {
    said: /not found|manifest unknown|does not exist|no such image|name unknown/i,
    reason: 'not-found',
    what: (registry) => `neither the machine of the worker nor ${registry} has it`,
  },
];

function unavailable(reference: string, said: string): ArtifactError {
  const { reason, what } = REASONS.find((known) => known.said.test(said)) ?? {
    reason: 'failed',
    what: () => 'it could not be pulled',
  };
  return new ArtifactError('IMAGE_UNAVAILABLE', {
    message: `The image ${reference} cannot be had: ${what(registryOf(reference))} (${said}).`,
    details: { image: reference, reason },
  });
}

/** The error of an image that is named by what it is made of, and that the Engine does not have. */
export function notHere(reference: string): ArtifactError {
  const message = isById(reference)
    ? `The image ${reference} cannot be had: no registry gives images by their id, and the machine of the worker does not have it.`
    : `The image ${reference} cannot be had: something removed it while it was pulled.`;
  return new ArtifactError('IMAGE_UNAVAILABLE', { message, details: { image: reference, reason: 'not-found' } });
}

function factsOf(inspected: Docker.ImageInspectInfo): ImageFacts {
  const { Id, RepoDigests, Config, Size } = inspected;
  const { User, Env, Cmd, Entrypoint, Volumes } = Config ?? {};
  return {
    id: Id,
    digest: RepoDigests?.[0] ?? null,
    user: User ?? '',
    env: Object.fromEntries((Env ?? []).map((pair) => splitPair(pair))),
    command: [...[Entrypoint ?? []].flat(), ...(Cmd ?? [])],
    volumes: volumePaths(Object.keys(Volumes ?? {})),
    sizeBytes: Size,
  };
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
}

function eventOf(line: string): PullEvent | null {
  try {
    const event: unknown = JSON.parse(line);
    return typeof event === 'object' && event !== null ? (event as PullEvent) : null;
  } catch {
    return null;
  }
}
