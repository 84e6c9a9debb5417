import type { FastifyRequest } from 'fastify';
import { requireChunked } from './content-encoding.ts';
import { notBuilt } from './not-built-yet.ts';
import { invalid } from './validation.ts';

/** The body of a route that takes bytes, and so has no schema to validate them with. */
export interface TakenBody {
  /** Media types with their schemas, as in OpenAPI. */
  readonly content: Readonly<Record<string, { readonly schema: object }>>;
  readonly description?: string;
  readonly required?: boolean;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    takesBody?: TakenBody;
    /** Options that the route takes as `Pilum-…` headers; `all` if its handler checks them itself. */
    takesOptions?: 'all' | readonly string[];
  }
}

/** The facts of a request's route. Fastify makes them anew at each reading, so that a reader hands them on. */
export type RouteFacts = FastifyRequest['routeOptions'];

/**
 * Refuses a body that the route would ignore: its sender expects it to have an effect.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function refuseUntakenBody({ method, headers }: FastifyRequest, { url, config, schema }: RouteFacts): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if ((length === undefined || length === '0') && encoding === undefined) return;
  requireChunked(headers);
  if (config.takesBody !== undefined || schema?.body !== undefined) {
    if (method !== 'GET' && method !== 'HEAD') return;
    // Nobody reads it, also where the function would take one with another method.
    throw invalid([{ where: '/body', what: `is not taken with ${method}: send it with POST, or none` }]);
  }
  const path = url?.replaceAll(/:([A-Za-z]+)/g, '{$1}') ?? '';
  throw invalid([{ where: '/body', what: `is not taken here: ${method} ${path} has none` }]);
}

const OPTION_PREFIX = 'pilum-';

/**
 * Refuses `Pilum-…` headers that the route would ignore, and `X-Callback-Url`, which is planned for later.
 * @throws RequestError `VALIDATION_FAILED`, `NOT_IMPLEMENTED`
 */
export function refuseUntakenOptions({ headers }: FastifyRequest, { config }: RouteFacts): void {
  const { takesOptions = [] } = config;
  if (takesOptions === 'all') return;
  for (const name in headers) {
    if (name === 'x-callback-url')
      throw notBuilt('/headers/x-callback-url', 'ask for the outcome at the status endpoint');
    if (!name.startsWith(OPTION_PREFIX) || name === 'pilum-namespace') continue;
    if (takesOptions.includes(name.slice(OPTION_PREFIX.length))) continue;
    throw invalid([{ where: `/headers/${name}`, what: 'is not an option here' }]);
  }
}
