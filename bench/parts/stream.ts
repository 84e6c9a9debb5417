import { freePort } from '../../test/support/free-port.ts';
import { plainRow, ratioRow } from '../report/row.ts';
import type { Bench, Part } from '../support/bench.ts';
import { startProcess } from '../support/bench-process.ts';
import { Peak } from '../support/peak.ts';
import { median } from '../support/statistics.ts';
import { drain, firstPieceMs, openStream } from '../support/stream-call.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum } from '../targets/pilum.ts';

const YIELDS = 'export default async function* (event) { for (let i = 0; i < event.count; i++) yield event.frame; }';
const FRAME_BYTES = 1024;
/** Frames of one stream for each ms of a sample: it takes about as long as a sample. */
const FRAMES_PER_MS = 30;
/** Calls for one median, for each ms of a sample. */
const CALLS_PER_MS = 0.2;

/** Measures what a stream costs: until its first chunk is there, and for each frame. */
export const stream: Part = {
  name: 'stream',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    await pilum.deploy('yields', YIELDS, { min: 1 });
    const streamUrl = `${pilum.url}/v1/artifacts/yields/stream`;
    const first = await firstChunk(bench, pilum, streamUrl);
    const chunkedUrl = await startChunked(bench);
    const count = bench.sampleMs * FRAMES_PER_MS;
    const event = { count, frame: 'x'.repeat(FRAME_BYTES) };
    const rateOf = async (open: () => ReturnType<typeof openStream>): Promise<number> => {
      const begun = performance.now();
      const { bytes, last } = await drain(await open());
      if (bytes < count * FRAME_BYTES) throw new Error(`a stream ended early: ${last}`);
      return count / ((performance.now() - begun) / 1000);
    };
    const sides = {
      events: () => openStream(streamUrl, { body: event }),
      raw: () => openStream(streamUrl, { body: event, accept: 'application/octet-stream' }),
      chunked: () => openStream(`${chunkedUrl}?count=${count}`),
    };
    const rates: Record<keyof typeof sides, number[]> = { events: [], raw: [], chunked: [] };
    const peak = new Peak(pilum);
    for (let repeat = -1; repeat < bench.repeats; repeat++) {
      if (repeat === 0) peak.begin();
      for (const side of Object.keys(sides) as (keyof typeof sides)[]) {
        const rate = await undisturbed(() => rateOf(sides[side]));
        if (repeat >= 0) rates[side].push(rate);
        console.error(`  ${side.padEnd(22)} ${rate.toFixed(0).padStart(7)} frames/s`);
      }
    }
    const grown = peak.end();
    const over = 'a chunked answer of the function itself';
    return [
      first,
      ratioRow({
        measure: 'frames of 1 KB a second, as events',
        over,
        unit: '/s',
        pilum: rates.events,
        floor: rates.chunked,
        goal: { atLeast: 0.3 },
      }),
      ratioRow({
        measure: 'frames of 1 KB a second, as bytes',
        over,
        unit: '/s',
        pilum: rates.raw,
        floor: rates.chunked,
      }),
      ...(['api', 'worker', 'redis'] as const).map((process) =>
        plainRow({
          measure: `${2 * count * bench.repeats} frames of 1 KB: memory of ${process}, most over before`,
          unit: 'MiB',
          figures: [grown[process].most - grown[process].before],
        }),
      ),
    ];
  },
};

async function firstChunk(bench: Bench, pilum: Pilum, streamUrl: string) {
  const event = { count: 1, frame: 'x'.repeat(100) };
  const invokeUrl = `${pilum.url}/v1/artifacts/yields/invoke`;
  const calls = bench.sampleMs * CALLS_PER_MS;
  const medianOf = async (url: string, wanted: string) => {
    const times: number[] = [];
    while (times.length < calls) times.push(await firstPieceMs(url, event, wanted));
    return median(times);
  };
  const streamed: number[] = [];
  const whole: number[] = [];
  for (let repeat = -1; repeat < bench.repeats; repeat++) {
    const [a, b] = [
      await undisturbed(() => medianOf(streamUrl, 'event: chunk')),
      await undisturbed(() => medianOf(invokeUrl, 'xxx')),
    ];
    console.error(`  first chunk ${a.toPrecision(3)} ms, sync answer ${b.toPrecision(3)} ms`);
    if (repeat < 0) continue;
    streamed.push(a);
    whole.push(b);
  }
  return ratioRow({
    measure: 'first chunk of a stream: p50, 1 in flight',
    over: 'the sync answer of the same function',
    unit: 'ms',
    pilum: streamed,
    floor: whole,
    goal: { atMost: 1.1 },
  });
}

async function startChunked(bench: Bench): Promise<string> {
  const port = await freePort();
  await startProcess(bench.scope, {
    name: 'chunked',
    module: new URL('../floors/chunked.ts', import.meta.url),
    env: { PORT: String(port) },
  });
  return `http://127.0.0.1:${port}/`;
}
