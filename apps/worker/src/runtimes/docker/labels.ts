import { readFile } from 'node:fs/promises';
import { labelOf, readOwner } from '../../ownership/owner.ts';

/** The labels that every container of ours carries, so that it can be found and its owner told. */
export const LABELS = {
  worker: 'pilum.worker',
  instance: 'pilum.instance',
  artifact: 'pilum.artifact',
  /** The process that it belongs to: see `ownership/owner.ts`. */
  owner: 'pilum.owner',
  /** The boot of the machine on which that process runs: pids mean something within one boot only. */
  boot: 'pilum.boot',
} as const;

let boot: Promise<string> | undefined;

/** The id of this boot of this machine. */
export function readBootId(): Promise<string> {
  boot ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim());
  return boot;
}

/** The labels of a container of this process. */
export async function labelsFor(
  workerId: string,
  instanceId: string,
  artifact: string,
): Promise<Record<string, string>> {
  return {
    [LABELS.worker]: workerId,
    [LABELS.instance]: instanceId,
    [LABELS.artifact]: artifact,
    [LABELS.owner]: `${labelOf(await readOwner())}-`,
    [LABELS.boot]: await readBootId(),
  };
}
