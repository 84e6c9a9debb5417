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
   * One call to one of the processes, in turn; to another where that one does not listen, for then it has not heard of
   * the call.
   * @returns the answer with its whole body; null where the connection broke, or was cut here, or nobody listens
   */
  async call(call: HttpCall): Promise<HttpAnswer | null> {
    for (let tries = 0; tries < this.#ports.length; tries++) {
      const answer = await this.#callOne(call, this.#ports[this.#next++ % this.#ports.length]);
      if (answer !== 'refused') return answer;
    }
    return null;
  }

  async #callOne(
    { method, path, body, headers, giveUpAfterMs }: HttpCall,
    port: number | undefined,
  ): Promise<HttpAnswer | 'refused' | null> {
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
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'refused' : null;
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
