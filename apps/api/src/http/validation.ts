import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import { convert, type Problem, problemsOf } from '@pilum/core/schemas/check.ts';
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';

/** Names of the parts of a request as answers show them, by Fastify's names. */
const PART_NAMES: Readonly<Record<string, string>> = { querystring: 'query', params: 'path' };

/**
 * Compiles a schema of core into a validator for Fastify. Path, query and headers arrive as text, and are first converted into the
 * numbers and booleans that the schema asks for; a body is validated as it is.
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

/** Tells whether all fields are text without defaults, so that no conversion is needed. */
function isAllText(schema: TSchema): boolean {
  const { properties = {} } = schema as { properties?: Record<string, { type?: unknown; default?: unknown }> };
  return Object.values(properties).every((field) => field.type === 'string' && field.default === undefined);
}

/** Makes the refusal of a malformed request from its problems, each with a place such as `/body/limits/cpu` or `/query/wait`. */
export function invalid(found: readonly Problem[], hint?: string): RequestError {
  // The description of a format is a sentence with a full stop; here it becomes a clause.
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
