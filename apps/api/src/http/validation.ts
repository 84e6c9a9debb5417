import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import { convert, type Problem, problemsOf } from '@pilum/core/schemas/check.ts';
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';

/** How the parts of a request are named in an answer. */
const PART_NAMES: Readonly<Record<string, string>> = { querystring: 'query', params: 'path' };

/**
 * Makes Fastify check with the schemas of core. What comes as text (path, query, headers) is first read as the numbers
 * and booleans that its schema asks for; a body is taken as it is.
 */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => {
  const part = PART_NAMES[httpPart] ?? httpPart;
  const isTaken = httpPart === 'body' || isAllText(schema);
  return (data: unknown) => {
    const value = isTaken ? data : convert(schema, { ...(data as object) });
    const problems = problemsOf(schema, value);
    if (problems.length === 0) return { value };
    return { error: invalid(problems.map(({ where, what }) => ({ where: pointer(part, where), what }))) };
  };
};

/** Whether every field is text, and none has a default: then there is nothing to be read as anything else. */
function isAllText(schema: TSchema): boolean {
  const { properties = {} } = schema as { properties?: Record<string, { type?: unknown; default?: unknown }> };
  return Object.values(properties).every((field) => field.type === 'string' && field.default === undefined);
}

/** A request with something wrong in it: each problem with its place, such as `/body/limits/cpu` or `/query/wait`. */
export function invalid(found: readonly Problem[], hint?: string): RequestError {
  // What is said of a form is a sentence of its own, with a full stop.
  const problems = found.map(({ where, what }) => ({ where, what: what.replace(/\.$/, '') }));
  return new RequestError('VALIDATION_FAILED', {
    message: `The request is not valid: ${problems.map(({ where, what }) => `${where} ${what}`).join('; ')}.`,
    ...(hint === undefined ? {} : { hint }),
    details: { problems },
  });
}

function pointer(part: string, where: string): string {
  return where === '/' ? `/${part}` : `/${part}${where}`;
}
