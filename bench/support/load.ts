import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';

export interface Sample {
  readonly callsPerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Share of processor time that the host took away meanwhile. */
  readonly stolen: number;
}

export interface Target {
  readonly name: string;
  readonly url: URL;
}

/** Calls a target over and over for a while, from so many connections, and checks every answer's status. */
export async function load(
  target: Target,
  options: { connections: number; forMs: number; body: string },
): Promise<Sample> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections });
  const latencies: number[] = [];
  const before = processorTimes();
  const begun = performance.now();
  const end = begun + options.forMs;
  const caller = async () => {
    while (performance.now() < end) {
      const at = performance.now();
      const status = await post(target.url, agent, options.body);
      if (status !== 200) throw new Error(`${target.name} answered ${status}`);
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: options.connections }, caller));
  const tookS = (performance.now() - begun) / 1000;
  agent.destroy();
  const after = processorTimes();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return {
    callsPerS: latencies.length / tookS,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    stolen: (after.stolen - before.stolen) / Math.max(1, after.total - before.total),
  };
}

function post(url: URL, agent: Agent, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const call = request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    call.on('error', reject);
    call.end(body);
  });
}

/** Processor times since boot in ticks (proc(5), /proc/stat). */
function processorTimes(): { total: number; stolen: number } {
  const times = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  return { total: times.slice(0, 8).reduce((a, b) => a + b, 0), stolen: times[7] ?? 0 };
}
