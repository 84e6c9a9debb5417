import {
  type ErrorData,
  errorFromData,
  InstanceError,
  type PilumError,
  TaskError,
} from '@pilum/core/errors/pilum-error.ts';

/** Bytes that a text must have to be searched for: a shorter one stands in much that is no secret. */
const LEAST_LENGTH = 6;
/** Texts that are searched for at most: the lines of a long value are many. */
const MOST_TEXTS = 1000;
/** Depth to which fields and details are looked into; deeper ones are left out. */
const MOST_DEPTH = 8;

/**
 * Takes the values of secrets out of texts: `[secret db-password]` stands there instead. A help against mishaps: a value that comes in pieces, or written in
 * another way than the usual ones, is not found.
 */
export class SecretMask {
  /** The longest first, so that a value is not found by a part of it. */
  readonly #texts: readonly (readonly [text: string, mask: string])[];

  /** @param values by the names of the secrets */
  constructor(values: ReadonlyMap<string, Buffer>) {
    const texts = new Map<string, string>();
    for (const [name, value] of values) {
      for (const text of formsOf(value)) {
        if (text.length >= LEAST_LENGTH && !texts.has(text)) texts.set(text, `[secret ${name}]`);
      }
    }
    this.#texts = [...texts].sort(([a], [b]) => b.length - a.length).slice(0, MOST_TEXTS);
  }

  /** Returns a text without the values. */
  text(text: string): string {
    let masked = text;
    for (const [wanted, mask] of this.#texts) {
      if (masked.includes(wanted)) masked = masked.replaceAll(wanted, () => mask);
    }
    return masked;
  }

  /** Returns what has the form of JSON without the values, in fields and their names alike. */
  value<T>(value: T): T {
    return this.#value(value, 0) as T;
  }

  /** Returns an error without the values. */
  error(error: ErrorData): ErrorData {
    return this.value(error);
  }

  /** Returns what an instance has thrown without the values; the same where there were none. */
  thrown(thrown: unknown): unknown {
    if (!(thrown instanceof InstanceError || thrown instanceof TaskError)) return thrown;
    const data = (thrown as PilumError).toData();
    const masked = this.error(data);
    return JSON.stringify(masked) === JSON.stringify(data) ? thrown : errorFromData(masked);
  }

  #value(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (depth >= MOST_DEPTH) return '[too deep to be looked through for secrets]';
    if (Array.isArray(value)) return value.map((one) => this.#value(one, depth + 1));
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [this.text(name), this.#value(one, depth + 1)]),
    );
  }
}

/** Yields the texts by which a value is likely to be printed: whole, line by line, and as JSON, URLs and base64 have it. */
function* formsOf(value: Buffer): Generator<string> {
  const text = value.toString('utf8');
  const trimmed = text.trim();
  const isText = Buffer.from(text, 'utf8').equals(value);
  for (const form of isText ? [text, trimmed] : []) {
    yield form;
    yield JSON.stringify(form).slice(1, -1);
    yield encodeURIComponent(form.toWellFormed());
  }
  yield value.toString('base64');
  yield value.toString('base64').replace(/=+$/, '');
  yield value.toString('base64url');
  // Logs come in lines.
  const lines = trimmed.split(/\r?\n/);
  if (isText && lines.length > 1) for (const line of lines) yield line.trim();
}
