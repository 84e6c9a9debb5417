import { type BigIntStats, lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ERRNO, onDisk, WasiError } from './v8-errno.ts';

/** A directory within a layer: where the layer lies, and the names of the way from there. */
export interface Place {
  readonly root: string;
  readonly way: readonly string[];
}

/** The file or directory that a path led to. */
export interface Found extends Place {
  readonly stats: BigIntStats;
}

/** The longest path, as Linux has it in PATH_MAX. */
export const MAX_PATH_BYTES = 4096;
/** The most links on the way of one path, as Linux has it. */
const MAX_LINKS = 40;

/** Returns the place on disk. */
export const pathOf = ({ root, way }: Place) => join(root, ...way);

/**
 * Goes from a directory to what a path names, name by name and link by link, and never out of the layer: for that there is no
 * call that Node has. The files of a layer do not change while a guest runs, so what was looked at is what is opened.
 * @param follow whether a link at the end of the path is gone through
 * @throws WasiError `PERM` for a path that leads out, `NOENT`, `NOTDIR`, `LOOP`, `NAMETOOLONG`, `INVAL`
 */
export function find(from: Place, path: string, follow: boolean): Found {
  if (path.includes('\0')) throw new WasiError(ERRNO.INVAL);
  if (path === '') throw new WasiError(ERRNO.NOENT);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new WasiError(ERRNO.NAMETOOLONG);
  const way = [...from.way];
  const toGo = namesOf(path);
  let links = 0;
  let stats = statsOf({ root: from.root, way });
  for (let name = toGo.pop(); name !== undefined; name = toGo.pop()) {
    if (!stats.isDirectory()) throw new WasiError(ERRNO.NOTDIR);
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (way.pop() === undefined) throw new WasiError(ERRNO.PERM);
      stats = statsOf({ root: from.root, way });
      continue;
    }
    way.push(name);
    stats = statsOf({ root: from.root, way });
    if (!stats.isSymbolicLink() || (toGo.length === 0 && !follow)) continue;
    if (++links > MAX_LINKS) throw new WasiError(ERRNO.LOOP);
    toGo.push(...namesOf(onDisk(() => readlinkSync(pathOf({ root: from.root, way })))));
    way.pop();
    stats = statsOf({ root: from.root, way });
  }
  return { root: from.root, way, stats };
}

/** Returns the names in a path, the first one last. A path that begins with a slash is the machine's, and not the layer's. */
function namesOf(path: string): string[] {
  if (path.startsWith('/')) throw new WasiError(ERRNO.PERM);
  return path.split('/').reverse();
}

const statsOf = (place: Place) => onDisk(() => lstatSync(pathOf(place), { bigint: true }));
