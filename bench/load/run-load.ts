import { setTimeout as sleep } from 'node:timers/promises';
import { sortedQuantile } from '../support/statistics.ts';
import { Connection } from './connection.ts';
import type { LoadPlan, Sample } from './plan.ts';

/** One of so many answers of a connection is read in full, the first among them; of all the status is checked. */
const READ_ONE_OF = 32;
/** Bytes of an unexpected answer that are shown. */
const SHOWN_BYTES = 300;

/**
 * Calls over and over, from so many connections at once.
 * @throws Error at the first answer that is not as it should be
 */
export async function runLoad(plan: LoadPlan): Promise<Sample> {
  const { until, connections } = plan;
  const url = new URL(plan.url);
  const open = Array.from({ length: connections }, () => new Connection(url));
  const latencies: number[] = [];
  let firstAnswerAt = 0;
  let left = 'calls' in until ? until.calls : Number.POSITIVE_INFINITY;
  const began = performance.now();
  const end = 'forMs' in until ? began + until.forMs : Number.POSITIVE_INFINITY;
  const call = async (connection: Connection, index: number): Promise<void> => {
    const body = bodyOf(plan.body, index);
    for (let i = 0; left > 0; i++) {
      const at = performance.now();
      if (at >= end) return;
      left--;
      const keep = i % READ_ONE_OF === 0;
      const answer = await connection.post(body, plan.status, keep);
      const now = performance.now();
      latencies.push(now - at);
      if (firstAnswerAt === 0) firstAnswerAt = performance.timeOrigin + now;
      check(plan, body, answer);
      if (plan.everyMs > 0) await sleep(Math.max(0, at + plan.everyMs - now));
    }
  };
  try {
    await Promise.all(open.map(call));
  } finally {
    await Promise.all(open.map((connection) => connection.close()));
  }
  const tookS = (performance.now() - began) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  return {
    calls: latencies.length,
    callsPerS: latencies.length / tookS,
    firstAnswerAtMs: firstAnswerAt,
    p50Ms: sortedQuantile(sorted, 0.5),
    p95Ms: sortedQuantile(sorted, 0.95),
    p99Ms: sortedQuantile(sorted, 0.99),
  };
}

/** Each connection sends its own, so that an answer that went to the wrong caller shows. */
function bodyOf(body: LoadPlan['body'], index: number): Buffer {
  if ('text' in body) return Buffer.from(body.text);
  const frame = '{"name":""}';
  return Buffer.from(`{"name":"${String(index).padStart(body.bytes - frame.length, 'x')}"}`);
}

function check(plan: LoadPlan, sent: Buffer, { status, body }: { status: number; body: Buffer | null }): void {
  const isRight = status === plan.status && (!plan.isEcho || body === null || body.includes(sent));
  if (isRight) return;
  const shown = (body ?? Buffer.alloc(0)).subarray(0, SHOWN_BYTES).toString();
  throw new Error(`${plan.name} gave a wrong answer: ${status} ${shown}`);
}
