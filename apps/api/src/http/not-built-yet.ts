import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { HTTPMethods } from 'fastify';

// Everything that the design has agreed on and no one has built. Each answers 501 `NOT_IMPLEMENTED` by its name: what
// is asked for is never silently left out. Building one means removing its line here.

export const ROUTES_NOT_BUILT: readonly { readonly method: readonly HTTPMethods[]; readonly url: string }[] = [
  { method: ['POST'], url: '/v1/batch' },
];

interface FieldNotBuilt<T> {
  readonly where: string;
  readonly what: string;
  readonly isAsked: (value: T) => boolean;
}

const RUNTIMES_BUILT: readonly string[] = ['process', 'docker', 'wasm', 'layer'];
const BUILT: readonly string[] = ['handler', 'stdio', 'http'];

const SPEC_FIELDS: readonly FieldNotBuilt<ArtifactSpecInput>[] = [
  {
    where: '/body/runtime',
    what: 'only process, docker and wasm are built',
    isAsked: ({ runtime }) => !RUNTIMES_BUILT.includes(runtime),
  },
  {
    where: '/body/protocol',
    what: 'only handler, stdio and http are built for this runtime',
    // What else a module could be asked for is a mistake, and not something that is to come.
    isAsked: ({ runtime, protocol }) => runtime !== 'wasm' && protocol !== undefined && !BUILT.includes(protocol),
  },
  {
    where: '/body/pool/concurrency',
    what: 'only 1 is built, but for protocol http',
    isAsked: ({ pool, protocol }) => (pool?.concurrency ?? 1) > 1 && protocol !== 'http',
  },
];

/** @throws RequestError `NOT_IMPLEMENTED` naming the field. */
export function refuseSpecNotBuilt(spec: ArtifactSpecInput): void {
  refuseFields(SPEC_FIELDS, spec);
}

export function notBuilt(where: string, what: string): RequestError {
  return new RequestError('NOT_IMPLEMENTED', {
    message: `${where} is agreed in the design and not built yet: ${what}.`,
    details: { where },
  });
}

function refuseFields<T>(fields: readonly FieldNotBuilt<T>[], value: T): void {
  for (const { where, what, isAsked } of fields) if (isAsked(value)) throw notBuilt(where, what);
}
