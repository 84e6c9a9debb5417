import { statSync } from 'node:fs';
import { dirname, parse, relative } from 'node:path';
import type { DevOptions } from '../../setup/arguments.mjs';
import { Refusal } from '../../setup/refusal.mjs';
import type { Attendant } from '../up.ts';
import { Deployer } from './deployer.ts';
import { type FunctionSource, functionsIn } from './function-source.ts';
import type { Sources } from './sources.ts';
import { watchFiles } from './watch-files.ts';

/** Changes that are named on one line. */
const MOST_NAMED = 3;

/**
 * Returns what `npm run dev` does beside the parts: it starts the API or the workers again when their source changes, and
 * deploys functions at the start and whenever their files change.
 */
export function dev({ functions, directories }: DevOptions, sources: Sources): Attendant {
  return async ({ address, screen, restart }, signal) => {
    const deployer = new Deployer(address, process.env.PILUM_API_KEY, signal);
    /** One deployment after the other, so that the last save is what runs. */
    let last: Promise<void> = Promise.resolve();

    function deploy(source: FunctionSource, why: string): void {
      last = last.then(async () => {
        try {
          const version = await deployer.deploy(source);
          if (version !== null) screen.status(source.name, `deployed  version ${version} (${why})`);
        } catch (error) {
          if (signal.aborted) return;
          screen.status(source.name, `not deployed (${why}): ${(error as Error).message}`, 'red');
        }
      });
    }

    function watchSource(directory: string, kinds: readonly ('api' | 'worker')[]): void {
      watchFiles(directory, signal, (paths) => {
        const said = kinds.map((kind) => (kind === 'api' ? 'API' : 'worker')).join(' and ');
        screen.status('dev', `changed  ${named(paths, dirname(dirname(directory)))}; starting ${said} again`, 'yellow');
        for (const kind of kinds) restart(kind);
      });
    }

    function watchFunction(source: FunctionSource): void {
      const onChange = (paths: readonly string[]) => deploy(source, `${named(paths, dirname(source.path))} changed`);
      const { dir, base, name } = parse(source.path);
      if (statSync(source.path).isDirectory()) watchFiles(source.path, signal, onChange);
      else watchFiles(dir, signal, onChange, [base, `${name}.json`]);
    }

    async function watchDirectory(directory: string): Promise<void> {
      const known = await functionsIn(directory);
      for (const source of known) deploy(source, 'at the start');
      watchFiles(directory, signal, async (paths) => {
        const of = (path: string) =>
          relative(directory, path)
            .split('/', 1)[0]
            ?.replace(/\.[^.]+$/, '');
        for (const source of await functionsIn(directory).catch(() => known)) {
          const ours = paths.filter((path) => of(path) === of(source.path));
          if (ours.length > 0) deploy(source, `${named(ours, directory)} changed`);
        }
      });
    }

    watchSource(sources.core, ['api', 'worker']);
    watchSource(sources.api, ['api']);
    watchSource(sources.worker, ['worker']);
    try {
      for (const source of functions) {
        watchFunction(source);
        deploy(source, 'at the start');
      }
      for (const directory of directories) await watchDirectory(directory);
      screen.status('dev', 'watching  the source of API and workers, and the functions that were named');
    } catch (error) {
      const { code, path, message } = error as NodeJS.ErrnoException;
      throw new Refusal(code === 'ENOENT' ? `There is no ${path}: name a function that is there.` : message);
    }
  };
}

/** The first few of the paths, as seen from a directory. */
function named(paths: readonly string[], from: string): string {
  const names = paths.map((path) => relative(from, path));
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '';
  return names.slice(0, MOST_NAMED).join(', ') + more;
}
