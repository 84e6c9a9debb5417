import type { DirectoryNode, Node } from './archive-tree.ts';

/**
 * Places outside of the archive to which links may lead: programs and libraries that every sandbox has at these places, as the
 * `bin/python` of a virtual environment names them. They are followed in the sandbox alone.
 */
const MACHINE_PLACES = ['/usr/', '/bin/', '/sbin/', '/lib/', '/lib64/', '/opt/'];
/** As the kernel: it gives up then. */
const MAX_HOPS = 40;

/** The place that a path leads to; `outside` where it leaves the archive, `machine` for a program of the machine. */
export type Place = Node | 'missing' | 'machine' | 'outside';

/**
 * Follows a path from a directory in the tree of an archive, links in it included, as the kernel would once it is
 * unpacked; nothing on disk is looked at.
 */
export function resolve(from: DirectoryNode, path: string): Place {
  const toGo = [path];
  let hops = 0;
  let directory = from;
  /** Names behind the last one that is there: with nothing there, `..` can be taken as it is written. */
  let beyond = 0;
  let place: Place = from;
  for (let next = toGo.pop(); next !== undefined; next = toGo.pop()) {
    if (next.startsWith('/')) return isOfMachine([next, ...toGo.reverse()].join('/')) ? 'machine' : 'outside';
    const slash = next.indexOf('/');
    const segment = slash < 0 ? next : next.slice(0, slash);
    const rest = slash < 0 ? '' : next.slice(slash + 1).replace(/^\/+/, '');
    if (rest !== '') toGo.push(rest);
    if (segment === '' || segment === '.') continue;
    if (segment === '..') {
      if (beyond > 0) beyond--;
      else if (directory.parent === null) return 'outside';
      else directory = directory.parent;
      place = beyond > 0 ? 'missing' : directory;
      continue;
    }
    const node = beyond > 0 ? undefined : directory.children.get(segment);
    if (node === undefined || node.kind === 'file') {
      beyond++;
      place = node === undefined || toGo.length > 0 ? 'missing' : node;
    } else if (node.kind === 'directory') {
      directory = node;
      place = node;
    } else {
      if (toGo.length === 0 && isInterpreter(directory, segment, node.target)) return 'machine';
      if (++hops > MAX_HOPS) return 'missing';
      toGo.push(node.target);
      place = directory;
    }
  }
  return place;
}

/** The `bin/python` of a virtual environment leads to the interpreter that made it, wherever that is. */
function isInterpreter(directory: DirectoryNode, name: string, target: string): boolean {
  const isInBin = directory.parent?.children.get('bin') === directory;
  const isVenv = directory.parent?.children.get('pyvenv.cfg')?.kind === 'file';
  return (
    isInBin && isVenv && /^python[0-9.]*$/.test(name) && /^\/[^\0]+$/.test(target) && !target.split('/').includes('..')
  );
}

function isOfMachine(path: string): boolean {
  return MACHINE_PLACES.some((place) => path.startsWith(place)) && !path.split('/').includes('..');
}
