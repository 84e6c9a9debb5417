import { type Static, Type } from 'typebox';
import { Name, Timestamp } from './names.ts';
import { VARIABLE_NAME } from './text.ts';

const strict = { additionalProperties: false } as const;

/** The largest value of a secret, bytes. */
export const MAX_SECRET_BYTES = 65_536;
/** Secrets of one namespace at most. */
export const MAX_SECRETS = 1000;
/** Secrets that one version may have at most. */
export const MAX_SECRETS_OF_VERSION = 32;
/** The directory in which an instance finds secrets that it has as files. */
export const SECRETS_DIRECTORY = '/run/secrets';

/** The name of a file below {@link SECRETS_DIRECTORY}, or of a variable, which is one of those names. */
const FILE_NAME = '^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_])?$';
export const isVariableName = (name: string) => new RegExp(VARIABLE_NAME).test(name);

/** The secrets of a version, by the variable or the file in which an instance has each. */
export const SecretUses = Type.Record(
  Type.String({ pattern: FILE_NAME }),
  Type.Object(
    {
      name: Name,
      as: Type.Optional(
        Type.Enum(['variable', 'file'], {
          description: `variable, which is meant where it is not said, or file: then it is ${SECRETS_DIRECTORY}/<the field's name>.`,
        }),
      ),
    },
    strict,
  ),
  {
    additionalProperties: false,
    maxProperties: MAX_SECRETS_OF_VERSION,
    description:
      'Secrets by the name of the variable or file in which instances have them, such as {"DB_PASSWORD": {"name": "db-password"}}. ' +
      'A version has what a secret holds when an instance starts.',
  },
);
export type SecretUses = Static<typeof SecretUses>;

/** Everything that may be known of a secret, which is all but its value. */
export const SecretInfo = Type.Object(
  {
    name: Name,
    version: Type.Integer({
      minimum: 1,
      description: 'Grows with each change of a secret in the namespace, and is never given twice.',
    }),
    sizeBytes: Type.Integer({ minimum: 0 }),
    setAt: Timestamp,
    setBy: Type.String({ description: 'The name of the API key that it was set with.' }),
    keyId: Type.String({ description: 'The key of the operator that its value is encrypted under.' }),
    usedBy: Type.Array(Name, { description: 'Artifacts with a version that names it.' }),
  },
  strict,
);
export type SecretInfo = Static<typeof SecretInfo>;

/** The record that Redis keeps of a secret beside its value. The defaults are read where one of another release lacks the field. */
export const SecretRecord = Type.Object({
  version: Type.Integer({ minimum: 1 }),
  sizeBytes: Type.Integer({ minimum: 0, default: 0 }),
  /** Whether it can be the value of a variable: UTF-8 without NUL. */
  isText: Type.Boolean({ default: false }),
  setAt: Type.String({ default: new Date(0).toISOString() }),
  setBy: Type.String({ default: '' }),
  keyId: Type.String({ default: '' }),
});
export type SecretRecord = Static<typeof SecretRecord>;

/** The body of `PUT /v1/secrets/{name}`: a value as text or as bytes. */
export const SecretInput = Type.Object(
  {
    value: Type.Optional(
      Type.String({ minLength: 1, maxLength: MAX_SECRET_BYTES, description: 'The value, as text.' }),
    ),
    base64: Type.Optional(
      Type.String({
        minLength: 2,
        maxLength: Math.ceil(MAX_SECRET_BYTES / 3) * 4,
        pattern: '^[A-Za-z0-9+/]+={0,2}$',
        description: 'The value instead, as base64 of its bytes.',
      }),
    ),
  },
  { ...strict, description: 'value or base64, up to 64 KiB.', writeOnly: true },
);
export type SecretInput = Static<typeof SecretInput>;
