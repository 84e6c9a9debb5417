import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, processIdentity } from './process-identity.mjs';
import { Refusal } from './refusal.mjs';
import { say } from './step.mjs';

/**
 * Does `work` while no other set-up of this checkout does: two `npm ci` at once would delete each other's files.
 * The lock is a file that names its process, so one that was left behind by a killed set-up counts for nothing.
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withSetupLock(file, work) {
  const me = processIdentity(process.pid) ?? String(process.pid);
  const draft = `${file}.${process.pid}`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(draft, me);
  } catch (error) {
    throw new Refusal(
      `Set-up cannot write to ${dirname(file)} (${/** @type {NodeJS.ErrnoException} */ (error).code}): start it as the user that the checkout belongs to.`,
    );
  }
  try {
    for (let told = false; !take(draft, file); ) {
      const holder = contentOf(file);
      if (holder === undefined) continue;
      if (!isRunning(holder)) removeStale(file, holder);
      else if (!told) {
        say(`waiting for the set-up that already runs (pid ${Number.parseInt(holder, 10)}) …`);
        told = true;
      }
      await sleep(100);
    }
  } finally {
    rmSync(draft, { force: true });
  }
  const release = () => rmSync(file, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

/** A link appears whole or not at all: nobody reads a lock that has no name in it yet. @param {string} draft @param {string} file */
function take(draft, file) {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  }
}

/** @param {string} file */
function contentOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Moves a stale lock away, once where several find it; one that was fresh by mistake is put back. @param {string} file @param {string} holder */
function removeStale(file, holder) {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    if (contentOf(aside) !== holder) linkSync(aside, file);
  } catch {
    // Another one was quicker.
  }
  rmSync(aside, { force: true });
}
