import { ArtifactError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import type Docker from 'dockerode';
import { lookInto } from './image-files.ts';
import type { ImageFacts } from './images.ts';

/** The user of an instance whose image names none. */
const NOBODY_IN_PARTICULAR: ImageUser = { user: '1000:1000', groups: [] };

/** Most supplementary groups that are passed on; so many the kernel takes from an Engine's own look as well. */
const MAX_GROUPS = 64;

/** The user as whom the processes of an image run. */
export interface ImageUser {
  /** `uid:gid`. */
  readonly user: string;
  /** The groups that its user is a member of besides. */
  readonly groups: readonly number[];
}

export const isRoot = (user: string): boolean => /^0+(:|$)/.test(user);

/**
 * Returns who the processes of an image are to be, which is who they are under `docker run`. Names are looked up in the image
 * itself, since a name can stand for root as well.
 * @throws RequestError `FORBIDDEN` where that is root and the operator has not allowed it; ArtifactError `IMAGE_UNAVAILABLE` where the
 *   image has no such user or group; whatever the client throws
 */
export async function userOf(
  engine: Docker,
  image: ImageFacts,
  labels: Record<string, string>,
  allowRoot: boolean,
): Promise<ImageUser> {
  const found = image.user === '' ? NOBODY_IN_PARTICULAR : await resolve(engine, image, labels);
  if (isRoot(found.user) && !allowRoot) throw rootRefused(image.user);
  return found;
}

/** The error of an image that may not be root. */
export function rootRefused(said: string): RequestError {
  return new RequestError('FORBIDDEN', {
    message: `The image wants to run as root (USER ${said}), which is not allowed here.`,
    hint: 'Give it another USER, or none: then it runs as 1000. The operator of the worker allows it with PILUM_DOCKER_ALLOW_ROOT=true.',
  });
}

async function resolve(engine: Docker, image: ImageFacts, labels: Record<string, string>): Promise<ImageUser> {
  const [user = '', group = ''] = image.user.split(':');
  if (isNumber(user) && isNumber(group)) return { user: `${Number(user)}:${Number(group)}`, groups: [] };
  const { passwd, groups } = await lookInto(engine, image.id, labels, async (files) => ({
    passwd: linesOf(await files.read('/etc/passwd')),
    groups: linesOf(await files.read('/etc/group')),
  }));
  // A group without a user is root's.
  const wanted = user === '' ? '0' : user;
  const entry = passwd.find(([name, , uid]) => (isNumber(wanted) ? Number(uid) === Number(wanted) : name === wanted));
  if (entry === undefined && !isNumber(wanted)) throw unknown(image, `user ${wanted} in its /etc/passwd`);
  const uid = isNumber(wanted) ? Number(wanted) : numberIn(entry?.[2]);
  if (group !== '') {
    const named = groups.find(([name]) => name === group);
    if (named === undefined && !isNumber(group)) throw unknown(image, `group ${group} in its /etc/group`);
    return { user: `${uid}:${isNumber(group) ? Number(group) : numberIn(named?.[2])}`, groups: [] };
  }
  const memberOf = groups
    .filter(([, , , members = '']) => entry !== undefined && members.split(',').includes(entry[0] ?? ''))
    .map(([, , gid]) => numberIn(gid));
  // A user that the image does not know has group 0, as the Engine has it.
  return { user: `${uid}:${numberIn(entry?.[3])}`, groups: [...new Set(memberOf)].slice(0, MAX_GROUPS) };
}

function unknown({ id, user }: ImageFacts, what: string): ArtifactError {
  return new ArtifactError('IMAGE_UNAVAILABLE', {
    message: `The image says USER ${user}, and has no ${what}.`,
    hint: 'Make the user in the image, or name it by its number.',
    details: { image: id, reason: 'user' },
  });
}

const isNumber = (text: string) => /^\d+$/.test(text);

/** Reads a number as the Engine does, for which anything else is 0. */
const numberIn = (text: string | undefined) => (text !== undefined && isNumber(text) ? Number(text) : 0);

const linesOf = (content: string): string[][] =>
  content
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
