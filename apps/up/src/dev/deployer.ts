import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FunctionSource, readFunction } from './function-source.ts';

/** Interval at which a call is tried again while the API starts again, ms. */
const AGAIN_MS = 200;
/** Longest time that an API may be away before a deployment is given up, ms. */
const AWAY_MS = 30_000;

/** Deploys functions from the disk by the HTTP API, as anybody would. */
export class Deployer {
  readonly #address: string;
  readonly #headers: Record<string, string>;
  readonly #signal: AbortSignal;
  readonly #deployed = new Map<string, string>();

  constructor(address: string, apiKey: string | undefined, signal: AbortSignal) {
    this.#address = address;
    this.#headers = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
    this.#signal = signal;
  }

  /**
   * Deploys a function as it lies on the disk now; gives its version, or null where it is what was deployed last.
   * @throws Error that says what was wrong with it, in the API's words
   */
  async deploy(source: FunctionSource): Promise<number | null> {
    const { bytes, format, spec } = await readFunction(source);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const body = JSON.stringify({ ...spec, code: { digest, format } });
    if (this.#deployed.get(source.name) === body) return null;
    await this.#put(`/v1/blobs/${digest}`, 'application/octet-stream', bytes);
    const answer = await this.#put(`/v1/artifacts/${source.name}?wait=30s`, 'application/json', body);
    this.#deployed.set(source.name, body);
    return (answer as { version: number }).version;
  }

  async #put(path: string, contentType: string, body: string | Buffer): Promise<unknown> {
    const headers = { ...this.#headers, 'content-type': contentType };
    const since = performance.now();
    for (;;) {
      try {
        const answer = await fetch(this.#address + path, { method: 'PUT', headers, body, signal: this.#signal });
        const text = await answer.text();
        if (answer.ok) return text === '' ? {} : JSON.parse(text);
        throw new Error(messageOf(text) ?? `the API answered ${answer.status}`);
      } catch (error) {
        // Only a connection that was not made or broke is a TypeError of fetch: the API is being started again.
        if (!(error instanceof TypeError) || this.#signal.aborted || performance.now() - since > AWAY_MS) throw error;
        await sleep(AGAIN_MS, undefined, { signal: this.#signal });
      }
    }
  }
}

/** Reads what the API says of its refusal, with each problem of a spec. */
function messageOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as {
      error: { message: string; details?: { problems?: { where: string; what: string }[] } };
    };
    const problems = error.details?.problems?.map(({ where, what }) => `${where.replace('/body/', '')} ${what}`) ?? [];
    return [error.message, ...problems].join(' ');
  } catch {
    return undefined;
  }
}
