import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';

/** One thing that is wrong with a value: where (a JSON pointer, `/` for the value itself) and what. */
export interface Problem {
  readonly where: string;
  readonly what: string;
}

/** At most this many problems are reported at once. */
const MAX_PROBLEMS = 20;

const compiled = new WeakMap<TSchema, Validator>();

function validatorOf(schema: TSchema): Validator {
  let validator = compiled.get(schema);
  if (validator === undefined) {
    validator = Compile(schema) as unknown as Validator;
    compiled.set(schema, validator);
  }
  return validator;
}

/** Whether a value has the shape of the schema. */
export function matches<S extends TSchema>(schema: S, value: unknown): value is Static<S> {
  return validatorOf(schema).Check(value);
}

/** Lists what is wrong with a value, in words; empty for a sound one. Unknown fields are named. */
export function problemsOf(schema: TSchema, value: unknown): Problem[] {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return [];
  const problems: Problem[] = [];
  const unknown: Problem[] = [];
  for (const error of validator.Errors(value)) {
    const parameters = error.params as Record<string, unknown>;
    const where = error.instancePath === '' ? '/' : error.instancePath;
    if (error.keyword === 'boolean') {
      // The same finding as additionalProperties, said for each field; but the validator stops at some number of findings.
      unknown.push({ where, what: 'is not known here' });
      continue;
    }
    const form = error.keyword === 'pattern' ? descriptionAt(schema, error.schemaPath) : undefined;
    problems.push({ where, what: form ?? describe(error.keyword, error.message, parameters) });
    if (problems.length >= MAX_PROBLEMS) break;
  }
  if (problems.length > 0) return problems;
  // What is not valid has a problem, whatever the validator has found words for.
  return unknown.length > 0 ? unknown.slice(0, MAX_PROBLEMS) : [{ where: '/', what: 'does not have the right form' }];
}

/** The description of the schema that a pointer such as `#/properties/entry` names, as a sentence about the value. */
function descriptionAt(schema: TSchema, pointer: string): string | undefined {
  let at: unknown = schema;
  for (const step of pointer.split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  const description = (at as { description?: unknown } | undefined)?.description;
  return typeof description === 'string' ? `does not have the right form: ${description}` : undefined;
}

function describe(keyword: string, message: string, parameters: Record<string, unknown>): string {
  const list = (value: unknown) => (Array.isArray(value) ? value.map((item) => JSON.stringify(item)).join(', ') : '');
  switch (keyword) {
    case 'additionalProperties':
      return `has a field that is not known here: ${list(parameters.additionalProperties)}`;
    case 'required':
      return `lacks ${list(parameters.requiredProperties)}`;
    case 'enum':
      return `must be one of ${list(parameters.allowedValues)}`;
    default:
      return message;
  }
}

/** The value with the schema's defaults filled in and numbers and booleans read from strings, as a query needs. */
export function convert<S extends TSchema>(schema: S, value: unknown): unknown {
  const validator = validatorOf(schema);
  const given: unknown = typeof value === 'object' && value !== null ? { ...value } : value;
  const converted: unknown = validator.Convert(validator.Default(value));
  restoreInexactNumbers(given, converted);
  return converted;
}

/**
 * Reads a record that another release may have written: fields that this one does not know stay as they are, since the
 * record may be written back, and those that it misses have their defaults. What comes in over HTTP is checked to the letter
 * instead.
 * @returns null where the record has not the shape of the schema even so
 */
export function readRecord<S extends TSchema>(schema: S, value: unknown): Static<S> | null {
  const validator = validatorOf(schema);
  // Records of this release, and that is nearly all, need no copy.
  if (validator.Check(value)) return value as Static<S>;
  const read: unknown = validator.Default(structuredClone(value));
  return validator.Check(validator.Clean(structuredClone(read))) ? (read as Static<S>) : null;
}

/** Says what keeps {@link readRecord} from reading a record: words that this release does not know, or values of another shape. */
export function recordProblems(schema: TSchema, value: unknown): Problem[] {
  const validator = validatorOf(schema);
  return problemsOf(schema, validator.Clean(validator.Default(structuredClone(value))));
}

/** TypeBox makes the integer 1 of `1.5` and 0 of nothing at all; such a text stays, and is found to be no integer. */
function restoreInexactNumbers(given: unknown, converted: unknown): void {
  if (typeof given !== 'object' || given === null || typeof converted !== 'object' || converted === null) return;
  for (const [key, text] of Object.entries(given)) {
    const fields = converted as Record<string, unknown>;
    const isInexact = typeof text === 'string' && (text.trim() === '' || Number(text) !== fields[key]);
    if (typeof fields[key] === 'number' && isInexact) fields[key] = text;
  }
}
