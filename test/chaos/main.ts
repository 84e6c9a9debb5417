/**
 * `npm run chaos`: a load of mixed tasks on a whole Pilum while faults strike; then a checker reads the history.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FAULTS, KINDS, type Kind } from './history/events.ts';
import type { Progress } from './run/progress.ts';
import { runChaos } from './run/run.ts';
import { summaryOf } from './run/summary.ts';

const PROGRESS_INTERVAL_MS = 10_000;

const USAGE = `npm run chaos -- [options]
  --tasks N        tasks that are asked for at least (1000)
  --seed S         of all that is drawn (the time)
  --times N        each kind of fault strikes at least so often (5)
  --rate N         new tasks a second (14)
  --workers N      (3)
  --shared-data    all workers keep their data in one directory
  --without KINDS  kinds of tasks to leave out, with commas between them: ${KINDS.join(', ')}
  --faults KINDS   only these kinds of faults: ${FAULTS.join(', ')}
  --keep           keep history and logs also where nothing is wrong`;

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now()) },
    times: { type: 'string', default: '5' },
    rate: { type: 'string', default: '14' },
    workers: { type: 'string', default: '3' },
    'shared-data': { type: 'boolean', default: false },
    faults: { type: 'string', default: FAULTS.join(',') },
    without: { type: 'string', default: '' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

const directory = await mkdtemp(join(tmpdir(), 'pilum-chaos-'));
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    console.log(`${signal}: stopping`);
    stopping.abort(new Error(`stopped by ${signal}`));
  });
}

const began = Date.now();
let latest: Progress | undefined;
const timer = setInterval(() => {
  if (latest !== undefined) console.log(`${Math.round((Date.now() - began) / 1000)} s  ${latest}`);
}, PROGRESS_INTERVAL_MS);
console.log(`seed ${values.seed}, history in ${directory}/history.jsonl`);

let isClean = false;
try {
  const verdict = await runChaos({
    seed: values.seed,
    tasks: Number(values.tasks),
    rate: Number(values.rate),
    timesEach: Number(values.times),
    workers: Number(values.workers),
    kinds: KINDS.filter((kind: Kind) => !values.without.split(',').includes(kind)),
    sharesData: values['shared-data'],
    faults: FAULTS.filter((kind) => values.faults.split(',').includes(kind)),
    directory,
    signal: stopping.signal,
    onProgress: (progress) => {
      latest = progress;
    },
  });
  console.log(`\n${summaryOf(verdict)}`);
  isClean = verdict.violations.length === 0;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
}
clearInterval(timer);
if (isClean && !values.keep) await rm(directory, { recursive: true, force: true });
else console.log(`history in ${directory}/history.jsonl, output of all parts in ${directory}/parts.log`);
process.exit(isClean ? 0 : 1);
