import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { endLaunched } from '../launch.ts';
import { ROOM_VARIABLE } from './run-room.ts';

// After whatever the file does at its end, also where that fails.
afterAll(endLaunched);

// Its path is short, because sockets lie below it. Every test file has a process of its own, and here a directory of its own for everything temporary. What it starts has
// the path of that in its environment, and so is found when this process has ended.
const room = process.env[ROOM_VARIABLE];
if (room !== undefined) {
  const directory = join(room, process.pid.toString(36));
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o711);
  process.env.TMPDIR = directory;
}
