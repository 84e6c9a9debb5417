import { fileURLToPath } from 'node:url';
import type { DevOptions } from '../setup/arguments.mjs';
import { DEV_USAGE, readArguments, readDevArguments, USAGE } from '../setup/arguments.mjs';
import { Refusal } from '../setup/refusal.mjs';
import { Screen } from './screen.ts';
import { type Attendant, type PartPrograms, up } from './up.ts';

/** Ctrl-C reaches us two or three times, from the terminal and from npm: that is one wish, not two. */
const ONE_WISH_MS = 500;

/**
 * The whole of `main.ts`, with the parts' programs handed in so that tests can have smaller ones: reads arguments and
 * environment, runs `up`, turns signals into wishes, and ends the process with its exit code.
 * @param dev What goes on beside the parts where this is `npm run dev`.
 */
export async function runMain(programs: PartPrograms, dev?: (options: DevOptions) => Attendant): Promise<never> {
  const stop = new AbortController();
  const force = new AbortController();
  let stoppedAt = 0;

  function onSignal(): void {
    if (!stop.signal.aborted) {
      stoppedAt = performance.now();
      stop.abort();
    } else if (performance.now() - stoppedAt > ONE_WISH_MS) {
      force.abort();
    }
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  // prepare.mjs is at the other end. When it is killed nobody is left to tell us to stop.
  process.once('disconnect', () => stop.abort());
  // The reader of our lines has gone (`npm run up | head`).
  process.stdout.on('error', () => stop.abort());
  process.stderr.on('error', () => {});

  try {
    const root = fileURLToPath(new URL('../../../', import.meta.url));
    const here = process.env.INIT_CWD ?? process.cwd();
    const readIn = dev === undefined ? readArguments : readDevArguments;
    const options = readIn(process.argv.slice(2), process.env, { here, root });
    if (options.help) console.log(dev === undefined ? USAGE : DEV_USAGE);
    else {
      const pretty = process.stdout.isTTY
        ? (await import('./pretty-line.ts')).prettyLine(process.stdout.hasColors())
        : undefined;
      await up(
        options,
        process.env,
        new Screen(process.stdout, pretty),
        { stop: stop.signal, force: force.signal },
        programs,
        dev?.(options as DevOptions),
      );
    }
    process.exitCode = force.signal.aborted ? 1 : 0;
  } catch (error) {
    console.error(error instanceof Refusal ? error.message : error);
    process.exitCode = 1;
  }
  // The channel to prepare.mjs, and only that, would keep us here.
  process.exit();
}
