import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK_DEVICES = '/sys/block';
/** More than any machine has that runs functions; a limit is one write for each at a cold start. */
const MOST_DISKS = 32;
/** Disks that are memory: nothing is read from a device there. */
const OF_MEMORY = /^(ram|zram)\d/;

/** The disks of this machine as the kernel numbers them, `major:minor`; a limit is on whole disks, and never on a partition. */
export async function readDisks(directory = BLOCK_DEVICES): Promise<string[]> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => !OF_MEMORY.test(name)).sort();
  const found: string[] = [];
  for (const name of names) {
    const read = async (file: string) => (await readFile(join(directory, name, file), 'utf8').catch(() => '')).trim();
    // Loop devices that nothing is attached to have no size.
    if (Number(await read('size')) > 0) found.push(await read('dev'));
  }
  return found.filter((number) => /^\d+:\d+$/.test(number)).slice(0, MOST_DISKS);
}
