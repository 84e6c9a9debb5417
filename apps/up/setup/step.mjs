import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { Refusal } from './refusal.mjs';

/** Signals that end set-up, and that a program we started is told of. */
const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

const EXCERPT_LINES = 20;

/** @param {string} text */
export const say = (text) => console.log(`set-up  ${text}`);

/**
 * Runs a program to its end.
 *
 * A signal to set-up is passed on, and set-up waits: a half-done `npm ci` or `apt-get` that goes on by itself would
 * get in the way of the next try.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<number>} Its exit code, 128 + n for signal n, 127 when it could not be started.
 */
function run(command, args, options) {
  return new Promise((done) => {
    const child = spawn(command, args, options);
    const handlers = SIGNALS.map((signal) => /** @type {const} */ ([signal, () => child.kill(signal)]));
    for (const [signal, handler] of handlers) process.on(signal, handler);
    const end = (/** @type {number} */ code) => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
      done(code);
    };
    child.once('error', () => end(127));
    child.once('exit', (code, signal) => end(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
}

/**
 * Does one long step: says that it begins and how long it took. What its programs print is kept in `log`.
 * @template T
 * @param {string} title
 * @param {string} log
 * @param {(run: (command: string, args: readonly string[], env?: NodeJS.ProcessEnv) => Promise<number>) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, log, work) {
  const fd = openLog(log);
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  const { isTTY } = process.stdout;
  if (!isTTY) say(`${title} …`);
  const draw = () => process.stdout.write(`\rset-up  ${title} … ${seconds()} s`);
  const timer = isTTY ? setInterval(draw, 1000) : undefined;
  if (isTTY) draw();
  try {
    const result = await work(async (command, args, env) => {
      const code = await run(command, args, { stdio: ['ignore', fd, fd], env: env ?? process.env });
      // 128 + n: somebody stopped it, and so us.
      if (code === 130 || code === 143 || code === 129) process.exit(code);
      return code;
    });
    if (isTTY) process.stdout.write('\n');
    else say(`${title}: done in ${seconds()} s`);
    return result;
  } catch (error) {
    if (isTTY) process.stdout.write('\n');
    throw error;
  } finally {
    clearInterval(timer);
    closeSync(fd);
  }
}

/** @param {string} log */
function openLog(log) {
  try {
    mkdirSync(dirname(log), { recursive: true, mode: 0o700 });
    return openSync(log, 'w', 0o600);
  } catch (error) {
    throw new Refusal(
      `Set-up cannot write to ${log} (${/** @type {NodeJS.ErrnoException} */ (error).code}): start it as the user that the checkout belongs to.`,
    );
  }
}

/**
 * The lines of a log that say what went wrong, for the screen: npm begins with it and goes on with general advice,
 * other programs end with it.
 * @param {string} log
 */
export function excerpt(log) {
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  const first = lines.findIndex((line) => line.startsWith('npm error'));
  return (first < 0 ? lines.slice(-EXCERPT_LINES) : lines.slice(first, first + EXCERPT_LINES)).join('\n');
}
