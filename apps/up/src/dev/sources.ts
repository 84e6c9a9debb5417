import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../../../', import.meta.url);
const path = (inside: string) => fileURLToPath(new URL(inside, ROOT));

/** The directories with the source of each kind of part; those of core belong to all of them. */
export interface Sources {
  readonly core: string;
  readonly api: string;
  readonly worker: string;
}

export const SOURCES: Sources = {
  core: path('packages/core/src'),
  api: path('apps/api/src'),
  worker: path('apps/worker/src'),
};
