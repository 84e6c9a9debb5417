import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { type Protocol, protocolRow } from '@pilum/core/spec/protocols.ts';
import { builtProtocols, RUNTIME_KINDS, type RuntimeKind, runtimeRow } from '@pilum/core/spec/runtimes.ts';
import type { HTTPMethods } from 'fastify';

// Everything that the design has agreed on and no one has built. Each answers 501 `NOT_IMPLEMENTED` by its name: what
// is asked for is never silently left out. Building a route means removing its line here; runtimes and protocols say in their table
// whether they are built.

export const ROUTES_NOT_BUILT: readonly { readonly method: readonly HTTPMethods[]; readonly url: string }[] = [
  { method: ['POST'], url: '/v1/batch' },
];

const listOf = (names: readonly string[]) => names.join(', ').replace(/, ([^,]*)$/, ' and $1');

/**
 * Refuses a runtime, a protocol of a runtime and a number of calls at once that are to come.
 * @param protocol the one that is meant where the spec names none
 * @throws RequestError `NOT_IMPLEMENTED` naming the field.
 */
export function refuseSpecNotBuilt({ pool }: ArtifactSpecInput, runtime: RuntimeKind, protocol: Protocol): void {
  if (!runtimeRow(runtime).isBuilt) {
    const built = RUNTIME_KINDS.filter((kind) => runtimeRow(kind).isBuilt);
    throw notBuilt('/body/runtime', `only ${listOf(built)} are built`);
  }
  // What the runtime will never have is a mistake, and not something that is to come.
  if (!protocolRow(protocol).isBuilt && runtimeRow(runtime).protocols.includes(protocol)) {
    throw notBuilt('/body/protocol', `only ${listOf(builtProtocols(runtime))} are built for this runtime`);
  }
  if ((pool?.concurrency ?? 1) > 1 && protocolRow(protocol).callsAtOnce === 'one-so-far') {
    throw notBuilt('/body/pool/concurrency', 'only 1 is built, but for protocol http');
  }
}

export function notBuilt(where: string, what: string): RequestError {
  return new RequestError('NOT_IMPLEMENTED', {
    message: `${where} is agreed in the design and not built yet: ${what}.`,
    details: { where },
  });
}
