/**
 * `npm run fuzz`: odd inputs for everything that strangers send, for as long as it is told.
 */
import { parseArgs } from 'node:util';
import { runTarget } from './run-target.ts';
import { loadTarget, targetNames } from './target.ts';

const names = targetNames();
const USAGE = `npm run fuzz -- [options]
  --seconds N     for each target (60)
  --target NAME   only this one: ${names.join(', ')}
  --seed N        where to begin (the time)
  --path P        with the seed of a failure: only its input
  --inputs N      of a batch, which has one seed (200)`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    target: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    path: { type: 'string' },
    inputs: { type: 'string', default: '200' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const numbers = [values.seconds, values.seed, values.inputs].map(Number);
if ((values.target !== undefined && !names.includes(values.target)) || numbers.some((value) => !(value >= 0))) {
  console.error(USAGE);
  process.exit(2);
}

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

let failures = 0;
for (const name of values.target === undefined ? names : [values.target]) {
  if (stopping.signal.aborted) break;
  const target = await loadTarget(name);
  console.log(`${name}: ${target.holds}`);
  const { inputs, failure } = await runTarget(target, {
    seed: Number(values.seed),
    ...(values.path === undefined ? {} : { path: values.path }),
    forMs: Number(values.seconds) * 1000,
    inputs: Number(values.inputs),
    signal: stopping.signal,
  });
  if (failure === null) {
    console.log(`${name}: ${inputs} inputs, nothing found`);
    continue;
  }
  failures++;
  console.error(`${name}: failed after ${inputs} inputs\n${failure.report}`);
  console.error(
    `again: npm run fuzz -- --target ${name} --seed ${failure.seed} --path ${failure.path} --inputs ${values.inputs}`,
  );
}
process.exit(failures === 0 ? 0 : 1);
