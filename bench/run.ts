/**
 * `npm run bench -- [part …] [--repeats N] [--sample-ms N]`: measures, prints one table and writes results/latest.json;
 * `--before DIRECTORY` compares with another checkout instead.
 * A run of all parts that was not shortened also writes its table into README.md.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LoadProcess } from './load/load-process.ts';
import { FULL, type Options, readOptions, UsageError } from './options.ts';
import { beforePart } from './parts/before.ts';
import { PARTS } from './parts/parts.ts';
import { readCircumstances } from './report/circumstances.ts';
import { type PartReport, type Report, tableOfReport, writeReadme, writeResults } from './report/report.ts';
import type { Part } from './support/bench.ts';
import { Scope } from './support/scope.ts';

const NAMES = PARTS.map(({ name }) => name);
/** Ctrl-C in a terminal comes twice: from the terminal, and from npm's script, which passes it on. */
const SAME_SIGNAL_MS = 1000;

let running: Scope | null = null;

/** Runs one part and ends all that it has started. What goes wrong in it is its own. */
async function runPart({ name, run }: Part, { repeats, sampleMs }: Options): Promise<PartReport> {
  console.error(`${name}:`);
  const began = performance.now();
  const scope = new Scope();
  running = scope;
  const tookS = () => Math.round((performance.now() - began) / 100) / 10;
  try {
    const measure = async () => await run({ repeats, sampleMs, scope, load: await LoadProcess.start(scope) });
    const rows = await Promise.race([measure(), scope.broken]);
    return { name, rows, error: null, tookS: tookS() };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown.message : String(thrown);
    if (!isStopping) console.error(`${name} failed:`, thrown);
    return { name, rows: [], error, tookS: tookS() };
  } finally {
    await scope.close();
  }
}

let isStopping = false;
async function stop(signal: NodeJS.Signals): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  console.error(`${signal}: ending what was started`);
  void sleep(SAME_SIGNAL_MS).then(() => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(1));
  });
  await running?.close();
  process.exit(1);
}

function optionsOrExit(): Options {
  try {
    return readOptions(process.argv.slice(2), NAMES);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

const options = optionsOrExit();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(signal));

// Before anything is measured: files may change meanwhile.
const circumstances = readCircumstances();
const parts: PartReport[] = [];
const chosen =
  options.before === null ? PARTS.filter(({ name }) => options.parts.includes(name)) : [beforePart(options.before)];
for (const part of chosen) {
  parts.push(await runPart(part, options));
  if (isStopping) await new Promise(() => undefined); // `stop` ends the process
}
const { repeats, sampleMs } = options;
const report: Report = { ...circumstances, repeats, sampleMs, parts };
console.log(tableOfReport(report));
// Another checkout is no floor of this one: its figures are for whoever compares them now.
if (options.before === null) await writeResults(report);
const isFull = parts.length === PARTS.length && repeats >= FULL.repeats && sampleMs >= FULL.sampleMs;
if (isFull) await writeReadme(report);
else
  console.error('bench/README.md is as it was: only a run of all parts that is not shortened writes its table there.');
if (parts.some(({ error }) => error !== null)) process.exitCode = 1;
