/**
 * What callers see, second by second, while Redis is away. By hand:
 *
 *     node test/e2e/redis-away-timeline.ts                                      killed for 30 s, ten sync calls a second
 *     node test/e2e/redis-away-timeline.ts --how stop                           stopped: connected, and silent
 *     node test/e2e/redis-away-timeline.ts --rate 200 --payload 100000          what the API's memory does meanwhile
 *     node test/e2e/redis-away-timeline.ts --mode async --away 2
 *
 * A Pilum of its own (Redis with an append-only file, one API, one worker) is called from 5 s before Redis goes until 10 s
 * after it is back. A line is for the calls that were sent in one second; -1 is the last second before Redis goes.
 */

import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startPilum, type TestPilum } from '../support/pilum.ts';

const BEFORE_S = 5;
const AFTER_S = 10;
const FUNCTION = 'export default (event) => typeof event === "string" ? event.length : 0';

const { values: options } = parseArgs({
  options: {
    how: { type: 'string', default: 'kill' },
    away: { type: 'string', default: '30' },
    rate: { type: 'string', default: '10' },
    payload: { type: 'string', default: '10' },
    mode: { type: 'string', default: 'sync' },
  },
});
const awayS = Number(options.away);
const rate = Number(options.rate);
const body = 'x'.repeat(Number(options.payload));

interface Line {
  sent: number;
  readonly answers: Map<string, number>;
  slowestMs: number;
  rssMiB: number;
}

const agent = new Agent({ keepAlive: true });
const lines = new Map<number, Line>();
const pilum = await startPilum({ appendonly: true });
try {
  await pilum.deploy('size', { code: { inline: FUNCTION } });
  await pilum.invoke('size', 'warm');
  await run(pilum);
} finally {
  agent.destroy();
  await pilum.close();
}
print();

async function run({ redis, url, api }: TestPilum): Promise<void> {
  const beganAt = performance.now() + BEFORE_S * 1000;
  const now = () => (performance.now() - beganAt) / 1000;
  const taking = takeAway(redis, now);
  const calls: Promise<void>[] = [];
  for (let count = 0; count < (BEFORE_S + awayS + AFTER_S) * rate; count++) {
    const dueMs = (count / rate - BEFORE_S - now()) * 1000;
    if (dueMs > 0) await sleep(dueMs);
    const line = lineOf(Math.floor(now()));
    line.sent++;
    line.rssMiB = Math.max(line.rssMiB, rssMiBOf(api.pid));
    calls.push(call(url, line));
  }
  await Promise.all([...calls, taking]);
  process.stdout.write(`memory of the API at the end: ${rssMiBOf(api.pid)} MiB\n`);
}

async function takeAway(redis: TestPilum['redis'], now: () => number): Promise<void> {
  await sleep(-now() * 1000);
  const pid = redis.pid ?? 0;
  if (options.how === 'stop') process.kill(pid, 'SIGSTOP');
  else await redis.kill();
  await sleep((awayS - now()) * 1000);
  if (options.how === 'stop') process.kill(pid, 'SIGCONT');
  else await redis.restart();
}

/** One call; what came of it is noted with the calls of its second. */
async function call(url: string, line: Line): Promise<void> {
  const sentAt = performance.now();
  const answer = await new Promise<string>((resolve) => {
    const sending = request(`${url}/v1/artifacts/size/invoke?mode=${options.mode}`, {
      agent,
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
    });
    sending.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    sending.on('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve(labelOf(response.statusCode ?? 0, text)));
    });
    sending.end(body);
  });
  line.answers.set(answer, (line.answers.get(answer) ?? 0) + 1);
  line.slowestMs = Math.max(line.slowestMs, performance.now() - sentAt);
}

/** The status; with its error where that is another than the one that is expected here. */
function labelOf(status: number, text: string): string {
  const code = status < 400 ? 'REDIS_UNAVAILABLE' : JSON.parse(text).error.code;
  return code === 'REDIS_UNAVAILABLE' ? String(status) : `${status} ${code}`;
}

function lineOf(second: number): Line {
  let line = lines.get(second);
  if (line === undefined) {
    line = { sent: 0, answers: new Map(), slowestMs: 0, rssMiB: 0 };
    lines.set(second, line);
  }
  return line;
}

function rssMiBOf(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kibibytes) / 1024);
}

function print(): void {
  const kinds = [...new Set([...lines.values()].flatMap(({ answers }) => [...answers.keys()]))].sort();
  const row = (cells: readonly (string | number)[]) => `${cells.map((cell) => String(cell).padStart(10)).join('')}\n`;
  process.stdout.write(row(['second', 'calls', ...kinds, 'slowest', 'API MiB']));
  for (const [second, { sent, answers, slowestMs, rssMiB }] of lines) {
    const note = second === 0 ? `   Redis away (${options.how})` : second === awayS ? '   Redis back' : '';
    const cells = [second, sent, ...kinds.map((kind) => answers.get(kind) ?? 0), `${Math.round(slowestMs)} ms`, rssMiB];
    process.stdout.write(row(cells).replace('\n', `${note}\n`));
  }
}
