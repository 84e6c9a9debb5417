import { once } from 'node:events';
import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { text } from 'node:stream/consumers';

export interface HttpAnswer {
  readonly http: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** The connection broke, or was cut here, or nobody listens; `code` is Node's. */
export interface NoAnswer {
  readonly http: null;
  readonly code: string;
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
  readonly #headers: Readonly<Record<string, string>>;
  #next = 0;

  /** @param headers sent with every call */
  constructor(ports: readonly number[], headers: Readonly<Record<string, string>> = {}) {
    this.#ports = ports;
    this.#headers = headers;
  }

  /**
   * One call to one of the processes, in turn; to another where that one does not listen, for then it has not heard of
   * the call.
   * @returns the answer with its whole body, or that there was none
   */
  async call(call: HttpCall): Promise<HttpAnswer | NoAnswer> {
    const first = this.#next++;
    for (let tries = 0; ; tries++) {
      const answer = await this.#callOne(call, this.#ports[(first + tries) % this.#ports.length]);
      const isRefused = answer.http === null && answer.code === 'ECONNREFUSED';
      if (!isRefused || tries + 1 >= this.#ports.length) return answer;
    }
  }

  #request({ method, path, body, headers }: HttpCall, port: number | undefined): ClientRequest {
    return httpRequest({
      agent: this.#agent,
      host: '127.0.0.1',
      port,
      method,
      path,
      headers: {
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...this.#headers,
        ...headers,
      },
    });
  }

  async #callOne(call: HttpCall, port: number | undefined): Promise<HttpAnswer | NoAnswer> {
    const { body, giveUpAfterMs } = call;
    const request = this.#request(call, port);
    const limit = setTimeout(
      () => request.destroy(Object.assign(new Error('given up'), { code: 'GIVEN_UP' })),
      giveUpAfterMs,
    );
    try {
      request.end(body);
      const [response] = await once(request, 'response');
      return { http: response.statusCode, headers: response.headers, text: await text(response) };
    } catch (error) {
      return { http: null, code: (error as NodeJS.ErrnoException).code ?? 'UNKNOWN' };
    } finally {
      clearTimeout(limit);
      request.on('error', () => undefined);
    }
  }

  /**
   * One call that is answered line by line; as {@link call} in all else.
   * @param onLine is handed each line as it comes, but not one that broke off
   * @returns once the answer has ended, or broken off
   */
  async lines(
    call: HttpCall,
    onLine: (line: string) => void,
  ): Promise<{ http: number | null; headers: IncomingHttpHeaders }> {
    const request = this.#request(call, this.#ports[this.#next++ % this.#ports.length]);
    const limit = setTimeout(() => request.destroy(), call.giveUpAfterMs);
    let head: { http: number | null; headers: IncomingHttpHeaders } = { http: null, headers: {} };
    try {
      request.end(call.body);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      head = { http: response.statusCode ?? null, headers: response.headers };
      let rest = '';
      for await (const bytes of response.setEncoding('utf8') as AsyncIterable<string>) {
        const parts = (rest + bytes).split('\n');
        rest = parts.pop() ?? '';
        for (const line of parts) onLine(line);
      }
    } catch {
      // It broke off: what came is what there is.
    } finally {
      clearTimeout(limit);
      request.on('error', () => undefined);
    }
    return head;
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }
}
