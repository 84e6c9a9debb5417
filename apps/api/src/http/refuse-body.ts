import type { FastifyRequest } from 'fastify';
import { invalid } from './validation.ts';

/** What a route takes as its body where that is not said by a schema that it is checked with. */
export interface TakenBody {
  /** As OpenAPI has it: media types with the schema of each. */
  readonly content: Readonly<Record<string, { readonly schema: object }>>;
  readonly description?: string;
  readonly required?: boolean;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    takesBody?: TakenBody;
  }
}

/**
 * Refuses a body that would be left unread: whoever sends one means something by it.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function refuseUntakenBody({ method, headers, routeOptions }: FastifyRequest): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if ((length === undefined || length === '0') && encoding === undefined) return;
  if (routeOptions.config.takesBody !== undefined || routeOptions.schema?.body !== undefined) return;
  const path = routeOptions.url?.replaceAll(/:([A-Za-z]+)/g, '{$1}') ?? '';
  throw invalid([{ where: '/body', what: `is not taken here: ${method} ${path} has none` }]);
}
