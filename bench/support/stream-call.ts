import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';

const agent = new Agent({ keepAlive: true });

/** A call that is answered piece by piece; resolves with the head of its answer. */
export async function openStream(
  url: string,
  { body, accept = 'text/event-stream', method = 'POST' }: { body?: unknown; accept?: string; method?: string } = {},
): Promise<IncomingMessage> {
  const call = request(url, { method, agent, headers: { 'content-type': 'application/json', accept } });
  call.end(body === undefined ? undefined : JSON.stringify(body));
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`${url}: ${answer.statusCode}`);
  return answer;
}

/** Reads an answer to its end; @returns its bytes, and the last of them as text */
export async function drain(answer: IncomingMessage): Promise<{ bytes: number; last: string }> {
  let bytes = 0;
  let last = '';
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length;
    last = (last + piece.toString('latin1')).slice(-2000);
  }
  return { bytes, last };
}

/** From the call to the first piece that has in it what is looked for, ms; the rest is read as well. */
export async function firstPieceMs(url: string, body: unknown, wanted: string): Promise<number> {
  const begun = performance.now();
  const answer = await openStream(url, { body });
  let foundMs = Number.NaN;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    if (Number.isNaN(foundMs) && piece.includes(wanted)) foundMs = performance.now() - begun;
  }
  return foundMs;
}
