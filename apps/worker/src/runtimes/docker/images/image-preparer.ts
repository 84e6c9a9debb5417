import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type Docker from 'dockerode';
import type { Preparer } from '../../contract/runtime.ts';
import { engineAway, isAway } from '../engine.ts';
import { isById } from './image-reference.ts';
import { userOf } from './image-user.ts';
import { requireEmptyVolumes } from './image-volumes.ts';
import { type ImageFacts, type Images, notHere } from './images.ts';

export interface ImagePreparerDeps {
  readonly engine: Docker;
  readonly images: Images;
  readonly host: string;
  /** Tells whether the registry is asked also for an image that is there. */
  readonly pull: 'missing' | 'always';
  readonly allowRoot: boolean;
  /** Makes the labels of a container that is made only to be looked into. */
  readonly labels: (artifact: string) => Promise<Record<string, string>>;
}

/** Gets the image of a version, and finds out what exactly that image is and as whom it may run. */
export class ImagePreparer implements Preparer {
  readonly #deps: ImagePreparerDeps;

  constructor(deps: ImagePreparerDeps) {
    this.#deps = deps;
  }

  async prepare(
    { code, protocol, command, writable }: ArtifactSpec,
    { signal, onProgress }: { signal: AbortSignal; onProgress: (text: string) => void },
  ): Promise<{ image: PinnedImage }> {
    const reference = code?.image;
    if (reference === undefined) throw new Error('a version of the docker runtime names an image');
    const { engine, allowRoot, labels, host } = this.#deps;
    try {
      const facts = await this.#have(reference, signal, onProgress);
      if (protocol !== 'handler' && command === undefined && facts.command.length === 0) {
        throw new ArtifactError('IMAGE_UNAVAILABLE', {
          message: `The image ${reference} has no command of its own, and the spec gives none.`,
          hint: 'Say with command what is to be run.',
          details: { image: reference, reason: 'no-command' },
        });
      }
      const { user, groups } = await userOf(engine, facts, await labels(''), allowRoot);
      await requireEmptyVolumes(engine, facts, { reference, writable }, await labels(''));
      const { id, digest, sizeBytes } = facts;
      const more = groups.length === 0 ? {} : { groups: [...groups] };
      return { image: { reference, id, digest, user, ...more, sizeBytes } };
    } catch (error) {
      throw isAway(error) ? engineAway(error, host) : error;
    }
  }

  async #have(reference: string, signal: AbortSignal, onProgress: (text: string) => void): Promise<ImageFacts> {
    const { images, pull } = this.#deps;
    const isFixed = isById(reference);
    if (isFixed || pull === 'missing') {
      const found = await images.find(reference);
      if (found !== null) return found;
      if (isFixed) throw notHere(reference);
    }
    onProgress(`pulling ${reference}`);
    await images.pull(reference, signal, (text) => onProgress(`pulling ${reference}: ${text}`));
    const pulled = await images.find(reference);
    if (pulled === null) throw notHere(reference);
    return pulled;
  }
}
