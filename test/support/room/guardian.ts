/**
 * Watches over the room of one run of the tests: `node guardian.ts <room>`, with a pipe from the runner as standard input.
 *
 * Each test process has a directory in the room that is named for its pid, to the base of 36. When the process has ended, however it did,
 * all that belongs to the directory ends too. When the pipe ends, the run has, and everything that is left goes with
 * the room. What still ran is printed, a line each.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Found, sweep } from './sweep.ts';

const LOOK_MS = 200;
const room = process.argv[2] as string;

let isOver = false;
process.stdin.on('error', () => undefined);
process.stdin.once('close', () => {
  isOver = true;
});
process.stdin.resume();
// The runner may be gone, and nobody reads.
process.stdout.on('error', () => undefined);

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const tell = (found: readonly Found[]) => {
  // The runner's own processes end with it, and are nobody's fault.
  const left = found.filter(({ command }) => !command.includes('vitest'));
  for (const { pid, command } of left) process.stdout.write(`${pid} ${command}\n`);
};

while (!isOver) {
  for (const name of readdirSync(room)) {
    if (/^[0-9a-z]+$/.test(name) && !isAlive(Number.parseInt(name, 36))) tell(await sweep(join(room, name)));
  }
  await sleep(LOOK_MS);
}
tell(await sweep(room, new Set([process.ppid])));
process.exit(0);
