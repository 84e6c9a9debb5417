/** Where functions report. */
export interface CollectorAddress {
  readonly host: string;
  readonly port: number;
}

/** What a call asks the function to do. */
export interface FunctionInput {
  readonly request: number;
  /** Runs for so long, ms. */
  readonly ms: number;
  /** Fails its first so many attempts. */
  readonly failFirst?: number;
  /** Lines that it logs. */
  readonly logs?: number;
  /** Fills its disk; `leave` leaves it full for whoever comes next. */
  readonly disk?: 'fill' | 'leave';
  /** How it ends its own instance, and how likely that is in each execution. */
  readonly dies?: { readonly how: 'exit' | 'kill'; readonly chance: number };
  /** Chunks that it gives, over all of its time. */
  readonly chunks?: number;
}

/**
 * One handler for all kinds. It reports its start and its end to the collector over a connection that it keeps, and goes
 * on when the kernel has the line: what is sent then arrives, whatever becomes of the instance.
 */
const SOURCE = `
import { randomUUID } from 'node:crypto';
import { appendFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

let connection = null;

function connected() {
  if (connection !== null && connection.writable) return connection;
  connection = createConnection(Number(process.env.COLLECTOR_PORT), process.env.COLLECTOR_HOST);
  connection.on('error', () => undefined);
  return connection;
}

async function report(line) {
  for (;;) {
    const error = await new Promise((resolve) => connected().write(line + '\\n', resolve));
    if (!error) return;
    connection.destroy();
    await sleep(20);
  }
}

function fillDisk() {
  const block = Buffer.alloc(65536);
  for (let blocks = 0; ; blocks++) {
    try {
      appendFileSync('/tmp/filler', block);
    } catch (error) {
      return { code: error.code, blocks };
    }
  }
}

export default async (event, context) => {
  const execution = randomUUID();
  const { request } = event;
  const { taskId, attempt } = context;
  const tell = (type) => report(JSON.stringify({ type, at: Date.now(), taskId, request, attempt, execution }));
  await tell('start');
  for (let line = 1; line <= (event.logs ?? 0); line++) console.log('line', line, 'of', taskId);
  await sleep(event.ms);
  if (event.dies !== undefined && Math.random() < event.dies.chance) {
    if (event.dies.how === 'kill') process.kill(process.pid, 'SIGKILL');
    process.exit(7);
  }
  const disk = event.disk === undefined ? undefined : fillDisk();
  if (event.disk === 'fill') rmSync('/tmp/filler', { force: true });
  await tell('end');
  if (attempt <= (event.failFirst ?? 0)) throw new Error('attempt ' + attempt + ' fails, as it was told to');
  return { execution, attempt, disk };
};

export async function* streamed(event, context) {
  const execution = randomUUID();
  const { request } = event;
  const { taskId, attempt } = context;
  const tell = (type) => report(JSON.stringify({ type, at: Date.now(), taskId, request, attempt, execution }));
  await tell('start');
  for (let i = 1; i <= event.chunks; i++) {
    yield { execution, i };
    await sleep(event.ms / event.chunks);
  }
  await tell('end');
  return { execution, attempt };
}
`;

export type ArtifactId =
  | 'chaos-streams'
  | 'chaos-mixed'
  | 'chaos-disk'
  | 'chaos-dies'
  | 'chaos-fixed'
  | 'chaos-doubling'
  | 'chaos-probe';

/**
 * What is deployed. One artifact for each way in which an instance may be left, so that a full disk or a death meets
 * only tasks that are ready for it.
 */
export function artifactSpecs({ host, port }: CollectorAddress): ReadonlyMap<ArtifactId, Record<string, unknown>> {
  const spec = {
    runtime: 'process',
    code: { inline: SOURCE },
    env: { COLLECTOR_HOST: host, COLLECTOR_PORT: String(port) },
    limits: { network: 'host', diskMiB: 2, memoryMiB: 128, cpu: 1 },
    timeouts: { runMs: 20_000, queueMs: 300_000 },
    pool: { max: 8 },
  };
  const retrying = (type: string) => ({ ...spec, retry: { backoff: { type, delayMs: 200, jitter: 0.5 } } });
  return new Map<ArtifactId, Record<string, unknown>>([
    ['chaos-mixed', spec],
    ['chaos-disk', spec],
    ['chaos-dies', spec],
    ['chaos-fixed', retrying('fixed')],
    ['chaos-doubling', retrying('exponential')],
    ['chaos-probe', spec],
    ['chaos-streams', { ...spec, entry: 'index.mjs#streamed' }],
  ]);
}
