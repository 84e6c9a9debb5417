import { text } from 'node:stream/consumers';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type Docker from 'dockerode';
import { extract } from 'tar-stream';
import { removeContainer } from '../container.ts';
import { answered, statusOf } from '../engine.ts';
import type { ImageFacts } from './images.ts';

/** The user and group of an instance whose image names none. */
const NOBODY_IN_PARTICULAR = '1000:1000';
/** The size up to which a file that lists users is read, bytes; a larger file says nothing. */
const MAX_FILE_BYTES = 1_048_576;

export const isRoot = (user: string): boolean => /^0+(:|$)/.test(user);

/**
 * Returns who the processes of an image are to be, as `uid:gid`. Names are looked up in the image itself, since a name can
 * stand for root as well.
 * @throws RequestError `FORBIDDEN` where that is root and the operator has not allowed it; whatever the client throws
 */
export async function userOf(
  engine: Docker,
  image: ImageFacts,
  labels: Record<string, string>,
  allowRoot: boolean,
): Promise<string> {
  const user = image.user === '' ? NOBODY_IN_PARTICULAR : await resolve(engine, image, labels);
  if (isRoot(user) && !allowRoot) throw rootRefused(image.user);
  return user;
}

/** The error of an image that may not be root. */
export function rootRefused(said: string): RequestError {
  return new RequestError('FORBIDDEN', {
    message: `The image wants to run as root (USER ${said}), which is not allowed here.`,
    hint: 'Give it another USER, or none: then it runs as 1000. The operator of the worker allows it with PILUM_DOCKER_ALLOW_ROOT=true.',
  });
}

async function resolve(engine: Docker, image: ImageFacts, labels: Record<string, string>): Promise<string> {
  const [user = '', group] = image.user.split(':');
  if (isNumber(user) && group !== undefined && isNumber(group)) return `${Number(user)}:${Number(group)}`;
  const { passwd, groups } = await readUsers(engine, image.id, labels);
  const entry = passwd.find(([name, , uid]) => (isNumber(user) ? Number(uid) === Number(user) : name === user));
  const uid = isNumber(user) ? Number(user) : Number(entry?.[2] ?? 0);
  if (group === undefined) return `${uid}:${Number(entry?.[3] ?? uid)}`;
  const gid = isNumber(group) ? Number(group) : Number(groups.find(([name]) => name === group)?.[2] ?? 0);
  return `${uid}:${gid}`;
}

const isNumber = (text: string) => /^\d+$/.test(text);

type Lines = string[][];

/** The image's own users and groups, from a container of it that is never started. */
async function readUsers(
  engine: Docker,
  image: string,
  labels: Record<string, string>,
): Promise<{ passwd: Lines; groups: Lines }> {
  const container = await answered(
    engine.createContainer({
      Image: image,
      Entrypoint: ['/nothing'],
      Labels: labels,
      NetworkDisabled: true,
      HostConfig: { NetworkMode: 'none', LogConfig: { Type: 'none', Config: {} } },
    }),
  );
  try {
    const read = async (path: string) => linesOf(await readFile(container, path));
    return { passwd: await read('/etc/passwd'), groups: await read('/etc/group') };
  } finally {
    await removeContainer(engine, container.id);
  }
}

const linesOf = (content: string): Lines => content.split('\n').map((line) => line.split(':'));

/** Empty where there is none. */
async function readFile(container: Docker.Container, path: string): Promise<string> {
  try {
    const archive = await answered(container.getArchive({ path }));
    const entries = archive.pipe(extract());
    for await (const entry of entries) {
      if ((entry.header.size ?? 0) <= MAX_FILE_BYTES && entry.header.type === 'file') return await text(entry);
    }
    return '';
  } catch (error) {
    if (statusOf(error) !== null) return '';
    throw error;
  }
}
