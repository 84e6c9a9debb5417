import type { FastifyRequest } from 'fastify';
import { notBuilt } from './not-built-yet.ts';
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
    /** Options that it takes as headers, `Pilum-…`; `all` for one that checks them itself. */
    takesOptions?: 'all' | readonly string[];
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

const OPTION_PREFIX = 'pilum-';

/**
 * Refuses options in headers that a route would leave unread, and `X-Callback-Url`, which no route has yet.
 * @throws RequestError `VALIDATION_FAILED`, `NOT_IMPLEMENTED`
 */
export function refuseUntakenOptions({ headers, routeOptions }: FastifyRequest): void {
  const { takesOptions = [] } = routeOptions.config;
  if (takesOptions === 'all') return;
  for (const name in headers) {
    if (name === 'x-callback-url')
      throw notBuilt('/headers/x-callback-url', 'ask for the outcome at the status endpoint');
    if (!name.startsWith(OPTION_PREFIX) || name === 'pilum-namespace') continue;
    if (takesOptions.includes(name.slice(OPTION_PREFIX.length))) continue;
    throw invalid([{ where: `/headers/${name}`, what: 'is not an option here' }]);
  }
}
