import { RequestError, SystemError } from '@pilum/core/errors/pilum-error.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { Name } from '@pilum/core/schemas/names.ts';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalid } from '../http/validation.ts';

/** The caller of a request. A route's handler reads it from the request and hands it on. */
export interface Principal {
  readonly namespace: string;
  /** An admin may act in any namespace, a member in one; the public may only call public functions. */
  readonly role: 'admin' | 'member' | 'public';
  /** The name of the caller's key, for logs; never the key itself. */
  readonly keyId: string;
  /** Whether the Authorization header holds a key of ours, which no function may see. */
  readonly hasKey: boolean;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller, on every route that needs something. Reading it on a route that needs nothing throws. */
    readonly principal: Principal;
    /** The caller, once it is admitted; the entrance alone writes it. */
    admitted: Principal | null;
  }
}

/** Gives requests the property `principal`, which handlers read. */
export function decoratePrincipal(app: Pick<FastifyInstance, 'decorateRequest'>): void {
  app.decorateRequest('admitted', null);
  app.decorateRequest('principal', {
    getter(this: FastifyRequest) {
      if (this.admitted !== null) return this.admitted;
      throw new SystemError('INTERNAL', { message: 'The handler of an open route asked for its caller.' });
    },
  });
}

/**
 * Returns the same principal in the namespace that it asks for.
 * @throws RequestError `FORBIDDEN` for a caller that is not an admin, `VALIDATION_FAILED` for a malformed name
 */
export function inNamespace(principal: Principal, asked: string | undefined): Principal {
  if (asked === undefined || asked === principal.namespace) return principal;
  if (principal.role !== 'admin') {
    throw new RequestError('FORBIDDEN', { message: 'Only an admin may name another namespace in Pilum-Namespace.' });
  }
  if (!matches(Name, asked)) {
    const what = 'must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit';
    throw invalid([{ where: '/headers/pilum-namespace', what }]);
  }
  return { ...principal, namespace: asked };
}
