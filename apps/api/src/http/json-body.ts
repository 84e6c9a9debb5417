import { isUtf8 } from 'node:buffer';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import { findJsonFault } from './json-fault.ts';
import { invalid } from './validation.ts';

/**
 * Parses a JSON body.
 * @throws RequestError `VALIDATION_FAILED` with the place of the fault; also where a field is named `__proto__`, which
 *   would become the prototype of whatever a careless reader copies it into.
 */
export function parseJsonBody(bytes: Buffer): unknown {
  const value = parseJson(bytes);
  const poison = findPrototypeField(value, '/body');
  if (poison !== null) throw invalid([{ where: poison, what: 'is a field name that is not allowed' }]);
  return value;
}

/** @throws RequestError `VALIDATION_FAILED` where the bytes are not JSON, with the place. */
export function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw invalid([{ where: '/body', what: 'is not JSON: it is not UTF-8' }]);
  const text = bytes.toString('utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    const { position, line, column, what } = findJsonFault(text);
    throw new RequestError('VALIDATION_FAILED', {
      message: `The body is not JSON: ${what} at line ${line}, column ${column} (position ${position}).`,
      details: { problems: [{ where: '/body', what: `is not JSON: ${what}` }], position, line, column },
      cause,
    });
  }
}

/** The pointer of the first field named `__proto__`, or null. */
function findPrototypeField(value: unknown, where: string): string | null {
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, child] of Object.entries(value)) {
    const here = `${where}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (key === '__proto__') return here;
    const found = findPrototypeField(child, here);
    if (found !== null) return found;
  }
  return null;
}
