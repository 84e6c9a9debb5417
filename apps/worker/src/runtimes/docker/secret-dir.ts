import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, lstat, mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { labelOf, readOwner } from '../../ownership/owner.ts';
import type { SecretFile } from '../contract/instance-secrets.ts';
import { saidBy } from './engine.ts';
import { type LifeSigns, namesOfTheDeadAnywhere } from './life.ts';

/** A file system in memory that every Linux has, and the Engine on the same machine sees. */
const MEMORY = '/dev/shm';
/** Others may go through it and not look around: the name of a directory below it is not to be guessed. */
const TRAVERSABLE = 0o711;
const FILES = 'files';
const VARIABLES = 'variables';

/** Returns the directory that holds those of instances. */
const secretDirsIn = (stagingDirectory: string) =>
  join(MEMORY, `pilum-${createHash('sha256').update(stagingDirectory).digest('hex').slice(0, 16)}`);

export interface SecretContents {
  readonly files: readonly SecretFile[];
  /** Variables that a shell in the container is to read. */
  readonly variables: Readonly<Record<string, string>>;
}

/** A directory in memory with the secrets of one container: what the container has of it is read-only, and its user's alone. */
export class SecretDir {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * @param user uid and gid of the container, `1000:1000`
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`; nothing is left then
   */
  static async make(stagingDirectory: string, user: string, contents: SecretContents): Promise<SecretDir> {
    const parent = secretDirsIn(stagingDirectory);
    const directory = join(parent, `${labelOf(await readOwner())}-${randomBytes(16).toString('base64url')}`);
    try {
      await mkdir(parent, { recursive: true });
      const { uid } = await lstat(parent).then((stat) => (stat.isDirectory() ? stat : { uid: -1 }));
      // Anybody may have made one of this name: everybody may write there.
      if (uid !== process.getuid?.()) throw new Error(`${parent} belongs to somebody else`);
      await chmod(parent, TRAVERSABLE);
      await mkdir(directory, { mode: TRAVERSABLE });
      const script = Object.entries(contents.variables).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
      const variables = [{ name: VARIABLES, content: Buffer.from(script.join('')) }];
      await fill(join(directory, VARIABLES), variables, user);
      await fill(join(directory, FILES), contents.files, user);
      return new SecretDir(directory);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      const message = `The secrets of an instance could not be laid out in memory: ${saidBy(error)}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
  }

  /** The directory of the files. */
  get files(): string {
    return join(this.#directory, FILES);
  }

  /** The directory of a script with the variables, which is {@link VARIABLES}. */
  get variables(): string {
    return join(this.#directory, VARIABLES);
  }

  /** Removes it. May be awaited twice. */
  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The script of a shell that takes the variables of a directory and becomes the command that follows. */
export const withVariables = (directory: string): readonly string[] => [
  '/bin/sh',
  '-c',
  `. ${directory}/${VARIABLES} && exec "$@"`,
  'pilum',
];

/** Removes what dead workers have left. */
export async function removeOrphanSecretDirs(signs: LifeSigns): Promise<void> {
  const parent = secretDirsIn(signs.stagingDirectory);
  const names = await readdir(parent).catch(() => []);
  if (names.length === 0) return;
  for (const name of await namesOfTheDeadAnywhere(names, signs)) {
    await rm(join(parent, name), { recursive: true, force: true });
  }
}

/** Removes the directory of all of them, unless another worker has something in it. */
export async function removeSecretDirs(stagingDirectory: string): Promise<void> {
  await rmdir(secretDirsIn(stagingDirectory)).catch(() => undefined); // not there, or in use
}

/** Only root can give a file away; where the worker is not, nobody else can find the way there. */
async function fill(directory: string, files: readonly SecretFile[], user: string): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const [uid, gid] = user.split(':').map(Number);
  const own = async (path: string, mode: number, open: number) => {
    if (isRoot && uid !== undefined && gid !== undefined) await chown(path, uid, gid);
    await chmod(path, isRoot ? mode : open);
  };
  await mkdir(directory, { mode: 0o700 });
  for (const { name, content } of files) {
    const path = join(directory, name);
    await writeFile(path, content, { mode: 0o600, flag: 'wx' });
    await own(path, 0o400, 0o444);
  }
  await own(directory, 0o500, 0o555);
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
