import { readFile } from 'node:fs/promises';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { problemsOf } from '@pilum/core/schemas/check.ts';
import { type Static, Type } from 'typebox';
import { credentialKeysOf, registryOf } from './image-reference.ts';

/** The part of Docker's config.json that says who we are to registries. Programs that are asked for passwords are not run. */
const CredentialsFile = Type.Object({
  auths: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        auth: Type.Optional(Type.String()),
        username: Type.Optional(Type.String()),
        password: Type.Optional(Type.String()),
        identitytoken: Type.Optional(Type.String()),
      }),
    ),
  ),
});

/** The credentials for a registry, in the words of the Engine. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly serveraddress: string;
}

/**
 * Reads from a file in the form of Docker's config.json what is for the registry of an image; null where there is nothing. The file is read
 * each time, so that it can be replaced.
 * @throws RuntimeError `RUNTIME_UNAVAILABLE` where the file cannot be read, or is of another form
 */
export async function credentialsFor(reference: string, file: string | null): Promise<Credentials | null> {
  if (file === null) return null;
  const { auths = {} } = await read(file);
  for (const key of credentialKeysOf(registryOf(reference))) {
    const found = auths[key];
    if (found === undefined) continue;
    if (found.identitytoken) return { identitytoken: found.identitytoken, serveraddress: key };
    const [username, password] = found.auth ? decode(found.auth) : [found.username, found.password];
    if (username !== undefined && password !== undefined) return { username, password, serveraddress: key };
  }
  return null;
}

async function read(file: string): Promise<Static<typeof CredentialsFile>> {
  const bad = (why: string) =>
    new RuntimeError('RUNTIME_UNAVAILABLE', { message: `PILUM_DOCKER_CREDENTIALS, the file ${file}, ${why}.` });
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    // Not what stands in it: there are passwords.
    throw bad(error instanceof SyntaxError ? 'is not JSON' : `cannot be read: ${(error as Error).message}`);
  }
  if (problemsOf(CredentialsFile, value).length > 0) throw bad('is not of the form of Docker’s config.json');
  return value as Static<typeof CredentialsFile>;
}

/** `name:password` in base64; a password may have colons. */
function decode(auth: string): [string, string] | [undefined, undefined] {
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? [undefined, undefined] : [text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, '')];
}
