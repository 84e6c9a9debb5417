import { ArtifactError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { ArtifactReference, Name } from '@pilum/core/schemas/names.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ArtifactResolver } from '../artifacts/resolve.ts';
import type { Front } from '../auth/front.ts';
import { DEFAULT_NAMESPACE, type Guard, type Look } from '../auth/guard.ts';
import { fromElsewhere, isNavigation } from '../auth/origin.ts';
import type { Principal } from '../auth/principal.ts';
import { allowsOrigin, corsHeaders, isPreflight, preflightHeaders } from './cors-headers.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** CORS headers for the answer to a page of an allowed origin; null for all other requests. */
    corsHeaders: Readonly<Record<string, string>> | null;
  }
}

/** The caller of a public function without a key, who may call that function only. */
const ANYONE: Principal = { namespace: DEFAULT_NAMESPACE, role: 'public', keyId: 'public', hasKey: false };

const HINT =
  'The spec of an artifact allows pages of other sites to call it with cors, for example {"cors": {"origins": ["https://app.example"]}}, ' +
  'and links on them to open it with {"public": true}.';

/** The fields of a spec that admit callers. */
type Policy = Pick<ArtifactSpec, 'public' | 'cors'>;

/** Admits calls of functions as web endpoints, by the key or by the spec of the called artifact. */
export class Admission {
  readonly #guard: Guard;
  readonly #front: Front;
  readonly #resolver: ArtifactResolver;

  constructor(guard: Guard, front: Front, resolver: ArtifactResolver) {
    this.#guard = guard;
    this.#front = front;
    this.#resolver = resolver;
  }

  /**
   * Admits a call, or answers it if it is a CORS preflight.
   * @returns null for a preflight, which is answered
   * @throws RequestError `FORBIDDEN`, `UNAUTHORIZED`; SystemError `REDIS_UNAVAILABLE`
   */
  async admit(request: FastifyRequest, reply: FastifyReply, look: Look): Promise<Principal | null> {
    const { caller, isFromElsewhere } = look;
    const own = this.#front.functionOf(request.raw);
    const isNamed = own === null || !('pilum-namespace' in request.headers);
    // The usual call has a key if one is needed and comes from no other origin, so the spec need not be read.
    if (!isFromElsewhere && !(caller instanceof RequestError))
      return this.#place(request, look, own?.namespace, isNamed);
    const policy = await this.#policyOf(own?.namespace ?? namespaceOf(request, caller), request);
    if (isFromElsewhere) {
      const { headers, method } = request;
      const { origin } = headers;
      const isAllowed =
        origin === undefined
          ? policy.cors?.origins.includes('*') === true || (policy.public === true && isNavigation(method, headers))
          : allowsOrigin(policy.cors, origin);
      if (!isAllowed) throw fromElsewhere(headers, HINT);
      if (origin !== undefined && policy.cors !== undefined) {
        if (isPreflight(method, headers)) {
          await reply.code(204).headers(preflightHeaders(policy.cors, headers)).send();
          return null;
        }
        request.corsHeaders = corsHeaders(policy.cors, origin);
        reply.headers(request.corsHeaders);
      }
    }
    const admitted = caller instanceof RequestError && policy.public === true ? ANYONE : caller;
    if (admitted === ANYONE) refuseOptions(request);
    return this.#place(request, { caller: admitted, isFromElsewhere: false }, own?.namespace, isNamed);
  }

  #place(request: FastifyRequest, look: Look, namespace: string | undefined, isNamed: boolean): Principal {
    const principal = this.#guard.admit(request, { ...look, isFromElsewhere: false }, false);
    if (namespace === undefined) return principal;
    if (!isNamed)
      throw new RequestError('FORBIDDEN', {
        message: 'The host of this request determines the namespace; leave Pilum-Namespace out.',
      });
    return { ...principal, namespace };
  }

  async #policyOf(namespace: string, request: FastifyRequest): Promise<Policy> {
    const { id } = request.params as { id?: unknown };
    if (!matches(ArtifactReference, id)) return {};
    try {
      return (await this.#resolver.resolve(namespace, id)).version.spec;
    } catch (error) {
      // Strangers must not learn which artifacts exist.
      if (error instanceof ArtifactError) return {};
      throw error;
    }
  }
}

/** Refuses the options of a caller without a key, who may not decide about time-outs or priorities. */
function refuseOptions({ headers }: FastifyRequest): void {
  const option = Object.keys(headers).find((name) => name.startsWith('pilum-'));
  if (option === undefined) return;
  throw new RequestError('UNAUTHORIZED', {
    message: `A call without a key may not say ${option}.`,
    details: { where: `/headers/${option}` },
  });
}

/** Returns the namespace that a request asks for, before it is known whether the caller may use it. */
function namespaceOf({ headers }: FastifyRequest, caller: Principal | RequestError): string {
  const asked = headers['pilum-namespace'];
  return caller instanceof RequestError || !matches(Name, asked) ? DEFAULT_NAMESPACE : asked;
}
