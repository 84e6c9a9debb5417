// The walls around an instance: one table. A runtime says of each whether it is in force on its machine, and if it is not, why.

export const WALLS = {
  sandbox: 'namespaces and a read-only root of its own, without the files, the processes and the rights of its machine',
  seccomp: 'the system calls of a list, and no other',
  userns: 'no user namespace of its own making, in which most attacks on a kernel begin',
  network: 'a network of its own, with what limits.network allows',
  memory: 'limits.memoryMiB, counted by the kernel for all of its processes together',
  cpu: 'limits.cpu',
  pids: 'limits.pids, counted by the kernel for all of its processes together',
  sockets: 'a limit on what the kernel holds in its socket buffers',
  'disk-size': 'limits.diskMiB',
  'disk-reads': 'limits.diskReadMiBps',
  freezer: 'no processor between its calls',
  watching: 'no look at who opens files that it shares with others (inotify, fanotify)',
} as const satisfies Readonly<Record<string, string>>;

export type WallName = keyof typeof WALLS;
export const WALL_NAMES = Object.keys(WALLS) as WallName[];

const ANY = `\\s*(?:${WALL_NAMES.join('|')})\\s*`;
/** The pattern of a list of walls that is separated by commas. */
export const WALL_LIST = `^${ANY}(?:,${ANY})*$`;

/** For each wall the reason why it is not in force; null where it is. */
export type Walls = Readonly<Record<WallName, string | null>>;

/** The walls that are not in force, with the reason of each. */
export function missingWalls(walls: Readonly<Record<string, string | null>>): { wall: string; why: string }[] {
  return Object.entries(walls).flatMap(([wall, why]) => (why === null ? [] : [{ wall, why }]));
}

/** Returns the walls that a list names, which is separated by commas. */
export function wallsNamed(text: string): WallName[] {
  const named = new Set(text.split(',').map((name) => name.trim()));
  return WALL_NAMES.filter((name) => named.has(name));
}
