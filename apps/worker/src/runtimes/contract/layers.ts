import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LayerFiles } from './runtime.ts';

/** Returns the directory that holds the files of all layers of a worker, each layer in a directory of its own. */
export const layersIn = (stagingDirectory: string) => join(stagingDirectory, 'layers');

/** Returns the path at which an instance finds a layer, if the instance has a root of its own. */
export const placeOfLayer = (id: string) => `/opt/${id}`;

/** A layer as an instance finds it. */
export interface PlacedLayer {
  readonly id: string;
  readonly directory: string;
  /** Tells whether the layer has a directory `bin`. */
  readonly hasPrograms: boolean;
}

/** @param hasOwnRoot whether instances see a root that was made for them; else they find layers where they are */
export function placeLayers(layers: readonly LayerFiles[], hasOwnRoot: boolean): PlacedLayer[] {
  return layers.map(({ id, directory }) => ({
    id,
    directory: hasOwnRoot ? placeOfLayer(id) : directory,
    hasPrograms: existsSync(join(directory, 'bin')),
  }));
}

/** A search path for programs that begins with those of the layers: a version has asked for them, and not for the rest. */
export function pathWith(layers: readonly PlacedLayer[], path: string): string {
  const own = layers.filter(({ hasPrograms }) => hasPrograms).map(({ directory }) => join(directory, 'bin'));
  return [...own, path].join(':');
}

/** `PILUM_LAYER_<ID>` for each: without a root of its own an instance would not know where they are. */
export function layerVariables(layers: readonly Pick<PlacedLayer, 'id' | 'directory'>[]): Record<string, string> {
  return Object.fromEntries(
    layers.map(({ id, directory }) => [`PILUM_LAYER_${id.toUpperCase().replaceAll('-', '_')}`, directory]),
  );
}
