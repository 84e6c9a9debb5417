import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { removeContainer } from './container.ts';
import { answered } from './engine.ts';
import { socketDirsIn } from './instance-socket-dir.ts';
import { LABELS, readBootId } from './labels.ts';
import { isLife, type LifeSigns, namesOfTheDeadAnywhere } from './life.ts';

/** Containers of another boot that were made less long ago are left alone, s: they may be another machine's, and being made. */
const YOUNG_S = 60;

/**
 * Removes containers of workers that are dead for certain. A container of this boot goes with its process. One of another
 * boot of this machine cannot run any more: where it does, it is another machine's, which shares the Engine.
 * @throws whatever the client throws
 */
export async function removeOrphanContainers(engine: Docker, signs: LifeSigns): Promise<void> {
  const listed = await answered(engine.listContainers({ all: true, filters: { label: [LABELS.owner] } }));
  if (listed.length === 0) return;
  const boot = await readBootId();
  const ofThisBoot = listed.filter(({ Labels }) => Labels[LABELS.boot] === boot);
  const owners = ofThisBoot.map(({ Labels }) => Labels[LABELS.owner] ?? '');
  const dead = new Set(await namesOfTheDeadAnywhere(owners, signs));
  const now = Date.now() / 1000;
  const orphans = listed.filter(({ Labels, State, Created }) => {
    if (Labels[LABELS.boot] === boot) return dead.has(Labels[LABELS.owner] ?? '');
    return State !== 'running' && State !== 'paused' && now - Created > YOUNG_S;
  });
  for (const { Id } of orphans) await removeContainer(engine, Id);
}

/**
 * Removes the directories that dead workers have given to their instances, and the sockets that they listened on; to be called
 * after {@link removeOrphanContainers}, which needs those.
 */
export async function removeOrphanSocketDirs(signs: LifeSigns): Promise<void> {
  const parent = socketDirsIn(signs.stagingDirectory);
  const names = await readdir(parent).catch(() => []);
  const dead = await namesOfTheDeadAnywhere(names, signs);
  const inOrder = [...dead.filter((name) => !isLife(name)), ...dead.filter(isLife)];
  for (const name of inOrder) await rm(join(parent, name), { recursive: true, force: true });
}
