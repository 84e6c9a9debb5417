import { isUtf8 } from 'node:buffer';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { findJsonFault } from './json-fault.ts';
import { findExcess } from './json-scan.ts';
import { invalid } from './validation.ts';

const HALF_CHARACTER = 'holds a lone surrogate: half a character, which is none';

/**
 * Parses a JSON body.
 * @throws RequestError `VALIDATION_FAILED` with the place of the fault. Refused before parsing: nesting deeper, or values more, than
 *   any valid body has. Refused after it: a field named `__proto__`, which would become a prototype wherever the object is copied;
 *   and a lone surrogate, which UTF-8 cannot represent.
 */
export function parseJsonBody(bytes: Buffer): unknown {
  // Some clients send this content type without a body; the schema refuses a body that is missing.
  if (bytes.length === 0) return undefined;
  const excess = findExcess(bytes);
  if (excess !== null) throw invalid([{ where: '/body', what: excess }]);
  const value = parseJson(bytes);
  const problem = findDanger(value, '/body');
  if (problem !== null) throw invalid([problem]);
  return value;
}

/**
 * Parses JSON of any size.
 * @throws RequestError `VALIDATION_FAILED` with the place at which the bytes stop being JSON
 */
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

/** Finds a value that is dangerous to copy or to write. Depth and number of values were bounded before. */
function findDanger(value: unknown, where: string): Problem | null {
  if (typeof value === 'string') return value.isWellFormed() ? null : { where, what: HALF_CHARACTER };
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, child] of Object.entries(value)) {
    const here = `${where}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (!key.isWellFormed()) return { where, what: `has a field whose name ${HALF_CHARACTER}` };
    if (key === '__proto__') return { where: here, what: 'is a field name that is not allowed' };
    const found = findDanger(child, here);
    if (found !== null) return found;
  }
  return null;
}
