/**
 * What a cold start costs: `node bench/cold-start.ts [samples]`. The first call of a freshly deployed artifact as its HTTP
 * caller sees it, by a worker that keeps blanks and by one that does not, next to the bare start of the interpreter. Real
 * processes, real sandboxes; what is compared was taken in turns, and each figure is the median of the repeats and their range.
 */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPilum, type TestPilum } from '../test/support/pilum.ts';

const REPEATS = 5;
const SAMPLES = Number(process.argv[2] ?? 15);
const BUNDLE_SAMPLES = Math.ceil(SAMPLES / 3);
const AT_ONCE = 64;
const BUNDLE_BYTES = 5 * 1024 * 1024;
/** For one blank to be made in the background, with the bare starts beside it. */
const REFILL_MS = 250;
const PYTHON = '/usr/bin/python3';
/** Gone before the next sample, so that none makes room for another. */
const POOL = { idleTimeoutMs: 20 };

const agent = new Agent({ keepAlive: true });

const quantile = (values: readonly number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
const median = (values: readonly number[]) => quantile(values, 0.5);

interface Side {
  readonly name: string;
  readonly pilum: TestPilum;
}

/** What a call takes until all of the answer is there, ms. */
async function call(url: string): Promise<number> {
  const began = performance.now();
  const sent = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } });
  sent.end('{}');
  const [answer] = await once(sent, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  const took = performance.now() - began;
  if (answer.statusCode !== 200 || !text.includes('"coldStart":true')) throw new Error(`not a cold start: ${text}`);
  return took;
}

async function bareStart(command: string, args: readonly string[]): Promise<number> {
  const began = performance.now();
  await once(spawn(command, args, { stdio: 'ignore' }), 'exit');
  return performance.now() - began;
}

type Deploy = (pilum: TestPilum, id: string) => Promise<void>;

const deployNode: Deploy = (pilum, id) =>
  pilum.deploy(id, { code: { inline: `export default () => ${JSON.stringify(id)}` }, pool: POOL });

const deployPython: Deploy = (pilum, id) =>
  pilum.deploy(id, {
    language: 'python',
    code: { inline: `def handler(event, context):\n    return ${JSON.stringify(id)}\n` },
    pool: POOL,
  });

/** Modules as a bundler leaves them. */
function bundleBody(): string {
  const parts: string[] = [];
  for (let i = 0, size = 0; size < BUNDLE_BYTES; i++) {
    const text = `function module${i}(exports, input) {
  const value = { key: "module-${i}", list: [input, ${i}, input + ${i}] };
  for (const item of value.list) exports.push(item * ${i});
  return value;
}
`;
    parts.push(text);
    size += text.length;
  }
  return parts.join('');
}
const BUNDLE_BODY = bundleBody();

const deployBundle: Deploy = async (pilum, id) => {
  const body = Buffer.from(`// ${id}\n${BUNDLE_BODY}\nexport default () => module7([], 1).key;\n`);
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  const { status, text } = await pilum.call('PUT', `/v1/blobs/${digest}`, { body });
  if (status >= 300) throw new Error(`the upload of a bundle: ${status} ${text}`);
  await pilum.deploy(id, { code: { digest, format: 'file' }, pool: POOL });
};

async function coldStart({ pilum }: Side, deploy: Deploy): Promise<number> {
  const id = `cold-${randomUUID()}`;
  await deploy(pilum, id);
  await sleep(REFILL_MS);
  return await call(`${pilum.url}/v1/artifacts/${id}/invoke`);
}

interface Row {
  readonly what: string;
  readonly over: string;
  readonly ratios: number[];
  readonly ms: number[];
}

/** Takes samples of every side and of the bare start in turns. */
async function compare(
  what: string,
  deploy: Deploy,
  bare: { name: string; command: string; args: string[] },
  samples: number,
  sides: readonly Side[],
): Promise<Row[]> {
  const rows = sides.map(({ name }) => ({
    what: `${what}, ${name}`,
    over: bare.name,
    ratios: [] as number[],
    ms: [] as number[],
  }));
  const bareMs: number[] = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const floor: number[] = [];
    const taken = sides.map((): number[] => []);
    for (let sample = 0; sample < samples; sample++) {
      floor.push(await bareStart(bare.command, bare.args));
      for (const [index, side] of sides.entries()) taken[index]?.push(await coldStart(side, deploy));
    }
    bareMs.push(median(floor));
    for (const [index, row] of rows.entries()) {
      const p50 = median(taken[index] ?? []);
      row.ms.push(p50);
      row.ratios.push(p50 / median(floor));
    }
  }
  return [...rows, { what: bare.name, over: bare.name, ratios: bareMs.map((ms) => ms / median(bareMs)), ms: bareMs }];
}

const range = (values: readonly number[], digits: number) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;

/** Many artifacts that were never called, all called at once. */
async function burst({ name, pilum }: Side): Promise<void> {
  const [total, p50, p99]: [number[], number[], number[]] = [[], [], []];
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const ids = Array.from({ length: AT_ONCE }, () => `cold-${randomUUID()}`);
    for (const id of ids) await deployNode(pilum, id);
    await sleep(4 * REFILL_MS);
    const began = performance.now();
    const took = await Promise.all(ids.map((id) => call(`${pilum.url}/v1/artifacts/${id}/invoke`)));
    total.push(performance.now() - began);
    p50.push(quantile(took, 0.5));
    p99.push(quantile(took, 0.99));
  }
  console.log(
    `${AT_ONCE} at once, ${name}: all answered; total ${range(total, 0)} ms, p50 ${range(p50, 0)} ms, p99 ${range(p99, 0)} ms`,
  );
}

/** Memory of a process and its descendants: its part of what it shares, and what is its alone, MiB. */
function memoryOf(pid: number): { pss: number; own: number } {
  const sum = { pss: 0, own: 0 };
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
  sum.pss += kib('Pss') / 1024;
  sum.own += (kib('Private_Clean') + kib('Private_Dirty')) / 1024;
  for (const child of childrenOf(pid)) {
    const { pss, own } = memoryOf(child);
    sum.pss += pss;
    sum.own += own;
  }
  return sum;
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}

const commandOf = (pid: number): string =>
  readFileSync(`/proc/${pid}/cmdline`, 'utf8') + childrenOf(pid).map(commandOf).join('');

function memoryOfBlanks({ pilum }: Side): void {
  for (const [language, file] of [
    ['node', 'node.mjs'],
    ['python', 'python.py'],
  ] as const) {
    const blanks = childrenOf(pilum.workers[0]?.pid ?? 0).filter((pid) => commandOf(pid).includes(file));
    const figures = blanks.map(memoryOf);
    console.log(
      `a blank of ${language} (${blanks.length} stand): PSS ${range(
        figures.map(({ pss }) => pss),
        1,
      )} MiB, its own alone ${range(
        figures.map(({ own }) => own),
        1,
      )} MiB`,
    );
  }
}

const sides: Side[] = [];
try {
  sides.push({ name: 'with blanks', pilum: await startPilum({ env: { PILUM_BLANKS: '4' } }) });
  sides.push({ name: 'without', pilum: await startPilum({ env: { PILUM_BLANKS: '0' } }) });
  for (const side of sides) for (const deploy of [deployNode, deployPython]) await coldStart(side, deploy);
  await sleep(2000);
  const [first] = sides;
  if (first !== undefined) memoryOfBlanks(first);
  const node = { name: 'node -e 0', command: process.execPath, args: ['-e', '0'] };
  const python = { name: 'python3 -c 0', command: PYTHON, args: ['-c', '0'] };
  const rows = [
    ...(await compare('Node', deployNode, node, SAMPLES, sides)),
    ...(await compare('Python', deployPython, python, SAMPLES, sides)),
    ...(await compare('a Node bundle of 5 MB', deployBundle, node, BUNDLE_SAMPLES, sides)),
  ];
  console.log('| cold start, p50 | ratio over | ratio | ms |\n|---|---|---|---|');
  for (const { what, over, ratios, ms } of rows) {
    console.log(`| ${what} | ${over} | ${range(ratios, 2)} | ${range(ms, 1)} |`);
  }
  for (const side of sides) await burst(side);
} finally {
  agent.destroy();
  for (const { pilum } of sides) await pilum.close();
}
