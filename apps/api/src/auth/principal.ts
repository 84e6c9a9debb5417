import { RequestError, SystemError } from '@pilum/core/errors/pilum-error.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { Name } from '@pilum/core/schemas/names.ts';
import type { FastifyRequest } from 'fastify';
import { invalid } from '../http/validation.ts';

/** Who makes a call. Everything below a route is handed one; nothing below reads the request for it. */
export interface Principal {
  readonly namespace: string;
  /** An admin sees the whole house, and may act in any namespace. */
  readonly role: 'admin' | 'member';
  /** Which key it was; for logs. Never the key itself. */
  readonly keyId: string;
  /** It came with a key of ours, in Authorization: that header is nobody else's business. */
  readonly hasKey: boolean;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard before anything else; null on the open routes. */
    principal: Principal | null;
  }
}

/** The principal that the guard has found. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new SystemError('INTERNAL', { message: 'A guarded route has no guard.' });
  return request.principal;
}

/**
 * The same principal in the namespace that it asks for.
 * @throws RequestError `FORBIDDEN` where it is not an admin, `VALIDATION_FAILED` where that is no namespace.
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

/** @throws RequestError `FORBIDDEN` where the principal may not see what is not its namespace’s own. */
export function requireAdmin(principal: Principal): void {
  if (principal.role !== 'admin') throw new RequestError('FORBIDDEN', { message: 'This needs an admin.' });
}
