import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, realpathSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Names the room of this run to the test processes. */
export const ROOM_VARIABLE = 'PILUM_TEST_ROOM';

/** Longer than the guardian may need for what does not want to end, ms. */
const LIMIT_MS = 60_000;

/**
 * Makes a room for this run and has a guardian watch over it; the runner calls it before the first test. Gives what
 * ends the run in good order; a signal does the same, and the end of this process by whatever else is seen by the guardian.
 */
export function setup(): () => Promise<void> {
  // Short, because sockets lie in it, and passable, because the sandboxes of a root worker find their code in it.
  const room = mkdtempSync(join(realpathSync(tmpdir()), 'p-'));
  chmodSync(room, 0o711);
  process.env[ROOM_VARIABLE] = room;
  const guardian = spawn(process.execPath, [join(import.meta.dirname, 'guardian.ts'), room], {
    // In a session of its own: Ctrl-C in a terminal is for the runner.
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: process.env.PATH },
  });
  guardian.unref();
  guardian.stdin?.on('error', () => undefined);
  (guardian.stdin as { unref?: () => void } | null)?.unref?.();
  (guardian.stdout as { unref?: () => void } | null)?.unref?.();

  let ending: Promise<void> | undefined;
  const end = () => {
    ending ??= endOf(guardian);
    return ending;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // Vitest would be gone at once. A second signal does not wait.
    process.removeAllListeners(signal);
    process.once(signal, () => void end().finally(() => process.exit(128 + constants.signals[signal])));
  }
  if (process.channel) {
    // Set-up holds the other end, and was killed.
    process.once('disconnect', () => void end().finally(() => process.exit(1)));
    process.channel.unref();
  }
  return end;
}

async function endOf(guardian: ChildProcess): Promise<void> {
  if (guardian.exitCode !== null || guardian.signalCode !== null) return;
  guardian.ref();
  (guardian.stdout as { ref?: () => void } | null)?.ref?.();
  const gone = once(guardian, 'exit');
  let said = '';
  guardian.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  guardian.stdin?.end();
  const limit = setTimeout(() => guardian.kill('SIGKILL'), LIMIT_MS);
  await gone;
  clearTimeout(limit);
  if (said !== '') console.warn(`Left by tests, and ended now:\n${said}`);
}
