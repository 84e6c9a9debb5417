/**
 * Measures what a cold start costs: `node bench/cold-start.ts [samples]`. The first call of a freshly deployed artifact as its HTTP
 * caller sees it, by a worker that keeps prewarmed sandboxes and by one that does not, next to the bare start of the interpreter. Real
 * processes, real sandboxes; what is compared was taken in turns, and each figure is the median of the repeats and their range.
 */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPilum, type TestPilum } from '../test/support/pilum.ts';

const REPEATS = 5;
const SAMPLES = Number(process.argv[2] ?? 15);
const BUNDLE_SAMPLES = Math.ceil(SAMPLES / 3);
const AT_ONCE = 64;
const BUNDLE_BYTES = 5 * 1024 * 1024;
/** Before each sample, so that what the one before has left is gone. */
const PAUSE_MS = 200;
const COUNT = 4;
const REFILL_LIMIT_MS = 20_000;
const PYTHON = '/usr/bin/python3';
/** Gone before the next sample, so that none makes room for another. */
const POOL = { idleTimeoutMs: 20 };

const agent = new Agent({ keepAlive: true });

const quantile = (values: readonly number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
const median = (values: readonly number[]) => quantile(values, 0.5);

interface Side {
  readonly name: string;
  readonly prewarm: number;
  readonly pilum: TestPilum;
}

/** Times a call until all of the answer is there, ms. */
async function call(url: string, isCold: boolean): Promise<number> {
  const began = performance.now();
  const sent = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } });
  sent.end('{}');
  const [answer] = await once(sent, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  const took = performance.now() - began;
  if (answer.statusCode !== 200 || !text.includes(`"coldStart":${isCold}`)) throw new Error(`not as meant: ${text}`);
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

type Sample = () => Promise<number>;

function coldStart(side: Side, deploy: Deploy): Sample {
  const { pilum } = side;
  return async () => {
    const id = `cold-${randomUUID()}`;
    await deploy(pilum, id);
    await sleep(PAUSE_MS);
    await refilled(side);
    return await call(`${pilum.url}/v1/artifacts/${id}/invoke`, true);
  };
}

/** A call of an instance that is there, after the same pause: what of a cold start is none. */
function warmCall({ pilum }: Side): Sample {
  return async () => {
    await sleep(PAUSE_MS);
    return await call(`${pilum.url}/v1/artifacts/warm/invoke`, false);
  };
}

interface Row {
  readonly what: string;
  readonly ratios: number[];
  readonly ms: number[];
}

/** Takes samples of each in turns, the bare start first, to which all are compared. */
async function compare(bare: string, samples: number, takers: Record<string, Sample>): Promise<Row[]> {
  const rows = Object.keys(takers).map((what): Row => ({ what, ratios: [], ms: [] }));
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const taken = rows.map((): number[] => []);
    for (let sample = 0; sample < samples; sample++) {
      for (const [index, { what }] of rows.entries()) taken[index]?.push((await takers[what]?.()) ?? Number.NaN);
    }
    const floor = median(taken[rows.findIndex(({ what }) => what === bare)] ?? []);
    for (const [index, row] of rows.entries()) {
      row.ms.push(median(taken[index] ?? []));
      row.ratios.push(median(taken[index] ?? []) / floor);
    }
  }
  return rows;
}

const range = (values: readonly number[], digits: number) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;

/** Many artifacts that were never called, all called at once. */
async function burst(side: Side): Promise<void> {
  const { name, pilum } = side;
  const [total, p50, p99]: [number[], number[], number[]] = [[], [], []];
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const ids = Array.from({ length: AT_ONCE }, () => `cold-${randomUUID()}`);
    for (const id of ids) await deployNode(pilum, id);
    await refilled(side);
    const began = performance.now();
    const took = await Promise.all(ids.map((id) => call(`${pilum.url}/v1/artifacts/${id}/invoke`, true)));
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
  return orWhereGone([], () =>
    readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    ),
  );
}

const commandOf = (pid: number): string =>
  orWhereGone('', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8')) + childrenOf(pid).map(commandOf).join('');

/** A process may end while it is looked at. */
function orWhereGone<T>(nothing: T, read: () => T): T {
  try {
    return read();
  } catch {
    return nothing;
  }
}

const BOOTSTRAPS = { node: 'node.mjs', python: 'python.py' } as const;

/** The processes of a worker that runs nothing: its prewarmed sandboxes. */
function prewarmedOf({ pilum }: Side, language: keyof typeof BOOTSTRAPS): number[] {
  const file = BOOTSTRAPS[language];
  return childrenOf(pilum.workers[0]?.pid ?? 0).filter((pid) => commandOf(pid).includes(file));
}

/** Waits until what was taken is made again. */
async function refilled(side: Side): Promise<void> {
  const since = performance.now();
  while (side.prewarm > 0 && performance.now() - since < REFILL_LIMIT_MS) {
    if (prewarmedOf(side, 'node').length >= COUNT && prewarmedOf(side, 'python').length >= COUNT) break;
    await sleep(20);
  }
}

function memoryOfPrewarmed(side: Side): void {
  for (const language of ['node', 'python'] as const) {
    const prewarm = prewarmedOf(side, language);
    const figures = prewarm.map(memoryOf);
    console.log(
      `a prewarmed sandbox of ${language} (${prewarm.length} stand): PSS ${range(
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
const directory = mkdtempSync(join(tmpdir(), 'pilum-bench-'));
try {
  const withPrewarm = {
    name: 'with prewarmed sandboxes',
    prewarm: COUNT,
    pilum: await startPilum({ env: { PILUM_PREWARM: String(COUNT) } }),
  };
  sides.push(withPrewarm);
  const without = { name: 'without', prewarm: 0, pilum: await startPilum({ env: { PILUM_PREWARM: '0' } }) };
  sides.push(without);
  for (const side of sides) for (const deploy of [deployNode, deployPython]) await coldStart(side, deploy)();
  await refilled(withPrewarm);
  await sleep(2000);
  memoryOfPrewarmed(withPrewarm);
  await withPrewarm.pilum.deploy('warm', { code: { inline: 'export default () => 1' } });
  await withPrewarm.pilum.invoke('warm', {});

  const bundle = join(directory, 'bundle.mjs');
  writeFileSync(bundle, BUNDLE_BODY);
  const both = (deploy: Deploy) => ({
    'cold start, with prewarmed sandboxes': coldStart(withPrewarm, deploy),
    'cold start, without': coldStart(without, deploy),
  });
  const node = { 'node -e 0': () => bareStart(process.execPath, ['-e', '0']) };
  const tables = {
    'a Node handler': await compare('node -e 0', SAMPLES, {
      ...node,
      ...both(deployNode),
      'warm call': warmCall(withPrewarm),
    }),
    'a Python handler': await compare('python3 -c 0', SAMPLES, {
      'python3 -c 0': () => bareStart(PYTHON, ['-c', '0']),
      ...both(deployPython),
      'warm call': warmCall(withPrewarm),
    }),
    'a Node bundle of 5 MB': await compare('node -e 0', BUNDLE_SAMPLES, {
      ...node,
      ...both(deployBundle),
      'node bundle.mjs': () => bareStart(process.execPath, [bundle]),
    }),
  };
  for (const [what, rows] of Object.entries(tables)) {
    console.log(`\n| ${what}: p50 | ratio to ${rows[0]?.what} | ms |\n|---|---|---|`);
    for (const row of rows) console.log(`| ${row.what} | ${range(row.ratios, 2)} | ${range(row.ms, 1)} |`);
  }
  console.log();
  for (const side of sides) await burst(side);
} finally {
  agent.destroy();
  rmSync(directory, { recursive: true });
  for (const { pilum } of sides) await pilum.close();
}
