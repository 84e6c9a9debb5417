import type { RouteOptions } from 'fastify';
import { isNeed } from '../auth/needs.ts';
import { TAGS } from './openapi.ts';

type Declared = Pick<RouteOptions, 'method' | 'url' | 'config' | 'schema'>;

const TAG_NAMES: ReadonlySet<string> = new Set(TAGS.map(({ name }) => name));

/**
 * Lists what routes have left out of their declaration, a sentence each: what they need of a caller and, for those that stand in
 * the API document, a tag that the document describes, a summary and the schema of a successful answer.
 */
export function undeclared(routes: Iterable<Declared>): string[] {
  return [...routes].flatMap((route) => faultsOf(route).map((fault) => `${nameOf(route)} ${fault}`));
}

/**
 * Refuses to start an app that has a route with an incomplete declaration.
 * @throws Error that names all of them
 */
export function requireDeclared(routes: Iterable<Declared>): void {
  const faults = undeclared(routes);
  if (faults.length > 0) throw new Error(`Routes are declared incompletely: ${faults.join('; ')}.`);
}

function faultsOf({ config, schema }: Declared): string[] {
  const { hide, tags = [], summary = '', response } = schema ?? {};
  const faults: string[] = [];
  if (!isNeed(config?.needs)) faults.push('lacks config.needs');
  if (hide === true) return faults;
  if (tags.length === 0) faults.push('lacks schema.tags');
  for (const tag of tags)
    if (!TAG_NAMES.has(tag)) faults.push(`has the tag ${tag}, which the API document does not describe`);
  if (summary.trim() === '') faults.push('lacks schema.summary');
  const statuses = Object.keys((response ?? {}) as object);
  if (!statuses.some((status) => status.startsWith('2'))) faults.push('lacks the schema of a successful answer');
  return faults;
}

const nameOf = ({ method, url }: Declared) => `${[method].flat().join(',')} ${url}`;
