import { watch } from 'node:fs';
import { basename, join } from 'node:path';

/** Editors write a file in several steps, and a checkout changes many: what changes within this time is one change, ms. */
const SETTLE_MS = 100;

/** Written beside a file while it is edited: hidden files, and those of vim, emacs and others. */
const NOT_SOURCE = /^[.#]|~$|^4913$|\.(swp|swx|tmp|bak)$/;

/**
 * Watches a directory and all below it, or only the files in it that are named, also where an editor puts another in the
 * place of one. What has changed is told once it has been quiet for a moment.
 * @throws Error `ENOENT` where there is no such directory
 */
export function watchFiles(
  directory: string,
  signal: AbortSignal,
  onChange: (paths: readonly string[]) => void,
  files?: readonly string[],
): void {
  const changed = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  const tell = () => {
    const paths = [...changed].sort();
    changed.clear();
    if (!signal.aborted) onChange(paths);
  };
  const watcher = watch(directory, { recursive: files === undefined, signal }, (_event, name) => {
    if (name === null || NOT_SOURCE.test(basename(name)) || /(^|\/)(node_modules|__pycache__)\//.test(name)) return;
    if (files !== undefined && !files.includes(name)) return;
    changed.add(join(directory, name));
    clearTimeout(timer);
    timer = setTimeout(tell, SETTLE_MS);
  });
  // A directory that goes while it is walked, or too few watches: what was said before still holds.
  watcher.on('error', () => undefined);
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
}
