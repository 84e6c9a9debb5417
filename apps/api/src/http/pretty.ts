import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalid } from './validation.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the caller has asked for an indented answer with `?pretty`. */
    isPretty: boolean;
  }
}

/** Longest answer that is indented, characters; nobody reads longer ones. */
const LIMIT_LENGTH = 1_048_576;

/**
 * Takes `pretty` out of a query before validation: every route accepts it, so no schema names it.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function takePretty(request: FastifyRequest): void {
  const query = request.query as Record<string, unknown>;
  const { pretty } = query;
  if (pretty === undefined) return;
  if (pretty !== '' && pretty !== 'true' && pretty !== 'false') {
    throw invalid([{ where: '/query/pretty', what: 'must be true or false' }]);
  }
  delete query.pretty;
  request.isPretty = pretty !== 'false';
}

/** Indents an answer if the caller has asked for that and the answer is JSON. */
export function prettyAnswer(request: FastifyRequest, reply: FastifyReply, payload: unknown): unknown {
  if (!request.isPretty || typeof payload !== 'string' || payload.length > LIMIT_LENGTH) return payload;
  if (!String(reply.getHeader('content-type')).startsWith('application/json')) return payload;
  reply.removeHeader('content-length');
  return prettyJson(payload);
}

/** Indents a JSON text without parsing it, because numbers could lose digits in JavaScript. */
export function prettyJson(text: string): string {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const inLines = text.replaceAll(/"(?:[^"\\]|\\.)*"|\s+|\{\s*\}|\[\s*\]|[{}[\],:]/g, (token) => {
    if (token[0] === '"') return token;
    if (token.trim() === '') return '';
    if (token.length > 1) return token.replaceAll(/\s/g, '');
    if (token === ':') return ': ';
    if (token === ',') return `,${line()}`;
    if (token === '{' || token === '[') {
      depth++;
      return token + line();
    }
    depth--;
    return line() + token;
  });
  return `${inLines}\n`;
}
