import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { EventStream } from '../support/event-stream.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ appendonly: true }));
  await pilum.deploy('count', {
    code: {
      inline: `export default async function* (event) {
        for (let i = 1; i <= event.count; i++) {
          console.log('line', i);
          yield { i, filler: 'x'.repeat(event.filler ?? 0) };
          await new Promise((r) => setTimeout(r, event.ms));
        }
      }`,
    },
  });
});

describe('while Redis is away', () => {
  it.each([
    ['and there is little to say', { count: 120, ms: 25 }],
    ['and there is more to say than fits', { count: 120, ms: 25, filler: 20_000 }],
  ])('a stream waits, and goes on without a gap when it is back: %s', async (_what, event) => {
    const stream = await EventStream.open(`${pilum.url}/v1/artifacts/count/stream?logs=true`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(event),
    });
    const before = await stream.take(10);
    await pilum.redis.kill();
    await sleep(1500);
    await pilum.redis.restart();
    const events = [...before, ...(await stream.rest())];
    const numbers = Array.from({ length: event.count }, (_, i) => i + 1);
    expect(events.filter(({ event: name }) => name === 'chunk').map(({ data }) => data.i)).toEqual(numbers);
    expect(events.filter(({ event: name }) => name === 'log').map(({ data }) => data.text)).toEqual(
      numbers.map((i) => `line ${i}`),
    );
    expect(events.at(-1)?.data).toMatchObject({ status: 'completed', recoveries: 0 });
  });
});
