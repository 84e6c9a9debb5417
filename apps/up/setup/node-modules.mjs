import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join, sep } from 'node:path';
import { findProgram } from './find-program.mjs';
import { Refusal } from './refusal.mjs';
import { excerpt, step } from './step.mjs';

/**
 * Makes `node_modules` what `package-lock.json` says, and Pilum's own Node in it runnable.
 *
 * A stamp holds the lock's hash, so that nothing is done when nothing has changed.
 * @param {string} root The repository.
 * @param {string} logs Directory for logs.
 */
export async function ensureModules(root, logs) {
  const stamp = join(root, 'node_modules', '.pilum-setup');
  const wanted = stampOf(root);
  const fresh = read(stamp) === wanted || sameAsLock(root);
  if (!fresh) {
    rmSync(stamp, { force: true });
    await npm(logs, 'installing npm packages', 'npm-ci', ['ci', '--no-audit', '--no-fund']);
  }
  if (!nodeRuns(root)) {
    // npm may have been told not to run install scripts; this one brings the Node that Pilum runs on.
    const rebuild = ['rebuild', 'node', '--foreground-scripts', '--ignore-scripts=false'];
    await npm(logs, `fetching Node ${pinnedNode(root)}`, 'npm-node', rebuild);
    if (!nodeRuns(root)) {
      throw new Refusal(
        `node_modules/.bin/node does not run as Node ${pinnedNode(root)} on this machine: the log ${join(logs, 'npm-node.log')} may say why.`,
      );
    }
  }
  if (read(stamp) !== wanted) writeFileSync(stamp, wanted);
}

/**
 * Whether nothing has to be done.
 * @param {string} root
 */
export const modulesAreReady = (root) =>
  read(join(root, 'node_modules', '.pilum-setup')) === stampOf(root) && nodeRuns(root);

/** Pilum's own Node. @param {string} root */
export const ownNode = (root) => join(root, 'node_modules', '.bin', 'node');

/** A checkout may be moved to a machine of another kind with its node_modules in it. @param {string} root */
function stampOf(root) {
  const hash = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  return `${hash} ${process.platform} ${process.arch}\n`;
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Whether what npm last installed here, by its own account, is what the lock says: someone who works on Pilum and
 * has typed `npm install` needs no second installation.
 * @param {string} root
 */
function sameAsLock(root) {
  const installed = read(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return false;
  const has = JSON.parse(installed).packages;
  const wants = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  for (const [path, { version, link, optional, devOptional }] of Object.entries(wants)) {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) continue;
    if (link) {
      if (!existsSync(join(root, path))) return false;
    } else if (has[path] === undefined ? !(optional || devOptional) : has[path].version !== version) return false;
  }
  return true;
}

/** @param {string} root */
const pinnedNode = (root) => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).dependencies.node;

/** @param {string} root */
function nodeRuns(root) {
  const { stdout, status } = spawnSync(ownNode(root), ['--version'], { encoding: 'utf8' });
  return status === 0 && stdout.startsWith(`v${pinnedNode(root).split('.')[0]}.`);
}

/**
 * @param {string} logs
 * @param {string} title
 * @param {string} name Of the log.
 * @param {string[]} args
 */
async function npm(logs, title, name, args) {
  const log = join(logs, `${name}.log`);
  // Without the directories that npm put first: the `node` found there is the one that is about to be replaced.
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((directory) => !directory.split(sep).includes('node_modules'))
    .join(delimiter);
  const script = process.env.npm_execpath;
  const node = findProgram(['node'], path);
  const command = script && node && existsSync(script) ? [node, script] : [findProgram(['npm'], path) ?? 'npm'];
  await step(title, log, async (run) => {
    const code = await run(command[0], [...command.slice(1), ...args], { ...process.env, PATH: path });
    if (code !== 0) {
      console.error(excerpt(log));
      throw new Refusal(`npm ${args[0]} failed with exit code ${code}: the lines above are from ${log}.`);
    }
  });
}
