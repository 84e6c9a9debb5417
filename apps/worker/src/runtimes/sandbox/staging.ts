import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, link, mkdir, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readOwner } from '../../ownership/owner.ts';
import { placeFile, stageTogether } from '../contract/staged-files.ts';
import { SANDBOX_UID, SANDBOX_USER } from './bubblewrap.ts';
import { RELAY_ADDRESS } from './network/relay/wire.ts';
import { isFilteredMachine, seccompFilter } from './seccomp/filter.ts';

const SYSTEM_CACHE = '/var/cache/pilum';
/** Others may go through it and not look around. */
const TRAVERSABLE = 0o711;

const isRoot = () => process.getuid?.() === 0;

/**
 * The directory for what instances read: code, interpreter, bootstraps. The directory is `<data>/cache` where a sandbox's user
 * can get there; a root worker's sandboxes are not root, and then a private data directory is closed to them.
 */
export async function chooseStagingDirectory(dataDirectory: string): Promise<string> {
  await mkdir(dataDirectory, { recursive: true });
  const data = await realpath(dataDirectory);
  const inData = join(data, 'cache');
  if (!isRoot()) {
    await mkdir(inData, { recursive: true });
    return inData;
  }
  const directory = (await isOpenToOthers(data, constants.S_IXOTH))
    ? inData
    : join(SYSTEM_CACHE, createHash('sha256').update(data).digest('hex').slice(0, 16));
  for (const path of [dirname(directory), directory]) {
    if (path === data) continue;
    await mkdir(path, { recursive: true });
    await chmod(path, TRAVERSABLE);
  }
  if (directory !== inData) {
    await writeFile(join(directory, SIGHT_FILE), await ownSight());
    await writeFile(join(directory, OWNER_FILE), data);
    await removeAbandoned(dirname(directory));
  }
  return directory;
}

/** Says in a directory of the system's cache whose it is. Earlier releases read it, and would remove what they misread. */
const OWNER_FILE = 'data-directory';
/**
 * Says beside it from where that can be seen: a container has directories that nobody else sees, and they are not gone for
 * that.
 */
const SIGHT_FILE = 'seen-from';

async function ownSight(): Promise<string> {
  const { pidNamespace, kernel } = await readOwner();
  return `${pidNamespace}-${kernel}`;
}

/** Removes what was staged for data directories that are there no more: nothing else would. */
export async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    try {
      const owner = await readFile(join(cache, name, OWNER_FILE), 'utf8');
      const here = await ownSight();
      if ((await readFile(join(cache, name, SIGHT_FILE), 'utf8').catch(() => here)) !== here) continue;
      await stat(owner).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') await rm(join(cache, name), { recursive: true, force: true });
      });
    } catch {
      // Not one of ours, or being made at this moment.
    }
  }
}

/** Tells whether a user who owns nothing here can reach `path` and has `permission` on it. */
export async function isOpenToOthers(path: string, permission: number): Promise<boolean> {
  const { mode } = await stat(path);
  if ((mode & permission) !== permission) return false;
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    if (((await stat(directory)).mode & constants.S_IXOTH) === 0) return false;
    if (directory === '/') return true;
  }
}

/** Ours, on disk where a sandbox can be given them. */
export interface StagedFiles {
  readonly node: string;
  /** The directory of our programs; null where nothing of ours runs in instances but the interpreter. */
  readonly bootstrapDirectory: string | null;
  /** The files in it. */
  readonly bootstraps: readonly string[];
  /** The filter of system calls; null where there is none for this processor. */
  readonly filter: string | null;
  /** Instead of the host's: they know one user and one host. */
  readonly etc: readonly { readonly from: string; readonly to: string }[];
}

const ETC = {
  passwd: `root:x:0:0::/nonexistent:/usr/sbin/nologin\n${SANDBOX_USER}:x:${SANDBOX_UID}:${SANDBOX_UID}::/tmp:/bin/sh\n`,
  group: `root:x:0:\n${SANDBOX_USER}:x:${SANDBOX_UID}:\n`,
  hosts: '127.0.0.1 localhost pilum\n::1 localhost\n',
  // Nobody is there in a sandbox without network.
  'resolv.conf': `nameserver ${RELAY_ADDRESS.ipv4}\noptions timeout:3 attempts:2\n`,
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
} as const;

/**
 * Puts our files into the staging directory; what is there already and right stays.
 * @param bootstrapDirectory where the bootstraps lie already
 */
export async function stageFiles(
  stagingDirectory: string,
  nodePath: string,
  bootstrapDirectory: string | null,
): Promise<StagedFiles> {
  const files = Object.entries(ETC).map(([name, text]) => ({ name, content: Buffer.from(text) }));
  const etc = await stageTogether(stagingDirectory, 'bootstrap-etc', files);
  return {
    node: await stageNode(stagingDirectory, nodePath),
    bootstrapDirectory,
    bootstraps: bootstrapDirectory === null ? [] : await filesIn(bootstrapDirectory),
    filter: await stageFilter(stagingDirectory),
    etc: Object.keys(ETC).map((name) => ({ from: join(etc, name), to: `/etc/${name}` })),
  };
}

/** Whether all of them are there: a cleaner may take away what lies below /tmp, while the worker runs. */
export async function areStaged({ node, bootstraps, filter, etc }: StagedFiles): Promise<boolean> {
  const files = [node, ...bootstraps, ...(filter === null ? [] : [filter]), ...etc.map(({ from }) => from)];
  return await areThere(files);
}

/** Whether there is something at each of the paths. */
export async function areThere(paths: readonly string[]): Promise<boolean> {
  const found = await Promise.all(paths.map((path) => stat(path).catch(() => null)));
  return found.every((one) => one !== null);
}

const filesIn = async (directory: string) => (await readdir(directory)).map((name) => join(directory, name));

async function stageFilter(stagingDirectory: string): Promise<string | null> {
  const { arch } = process;
  if (!isFilteredMachine(arch)) return null;
  const file = { name: 'filter', content: seccompFilter(arch) };
  return join(await stageTogether(stagingDirectory, 'bootstrap-seccomp', [file]), file.name);
}

/** The interpreter where it is, or a hard link or copy of it where sandboxes cannot get there. */
export async function stageNode(stagingDirectory: string, nodePath: string): Promise<string> {
  const node = await realpath(nodePath);
  if (!isRoot() || (await isOpenToOthers(node, constants.S_IROTH | constants.S_IXOTH))) return node;
  const { size, mtimeMs } = await stat(node);
  const staged = join(stagingDirectory, `node-${size}-${Math.floor(mtimeMs)}`);
  const there = await stat(staged).catch(() => null);
  if (there?.size === size) return staged;
  await placeFile(staged, 0o755, async (path) => {
    // A link costs nothing; a copy is for another file system, where it may still share the blocks.
    await link(node, path).catch(() => copyFile(node, path, constants.COPYFILE_FICLONE));
  });
  return staged;
}
