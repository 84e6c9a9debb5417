import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A new directory that goes with the test that asked for it. Its path is short enough for a Unix socket. */
export function temporaryDirectory(): string {
  const directory = makeTemporaryDirectory();
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** The same for hooks and helpers, who remove it themselves. */
export function makeTemporaryDirectory(): string {
  return mkdtempSync(join(realpathSync(tmpdir()), 't-'));
}
