import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';

export interface HttpAnswer {
  readonly http: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface HttpCall {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection is cut after so long, ms. */
  readonly giveUpAfterMs: number;
}

/** Calls any of several API processes, over connections that are kept. */
export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #ports: readonly number[];
  #next = 0;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
  }

  /**
   * One call to one of the processes, in turn; null where the connection broke, or was cut here.
   * @returns the answer with its whole body
   */
  async call({ method, path, body, headers, giveUpAfterMs }: HttpCall): Promise<HttpAnswer | null> {
    const port = this.#ports[this.#next++ % this.#ports.length];
    const request = httpRequest({
      agent: this.#agent,
      host: '127.0.0.1',
      port,
      method,
      path,
      headers: {
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...headers,
      },
    });
    const limit = setTimeout(() => request.destroy(new Error('given up')), giveUpAfterMs);
    try {
      request.end(body);
      const [response] = await once(request, 'response');
      return { http: response.statusCode, headers: response.headers, text: await text(response) };
    } catch {
      return null;
    } finally {
      clearTimeout(limit);
      request.on('error', () => undefined);
    }
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }
}
