import { Client } from 'undici';

/** For one answer, ms: a call that is lost must not hold the bench for ever. */
const ANSWER_MS = 60_000;

export interface Answer {
  readonly status: number;
  /** Null where nobody wanted to see it. */
  readonly body: Buffer | null;
}

/** One keep-alive connection with one call at a time. undici's `dispatch` is its leanest way to make one. */
export class Connection {
  readonly #client: Client;
  readonly #path: string;
  readonly #headers = ['content-type', 'application/json'];

  constructor(url: URL) {
    this.#client = new Client(url.origin, { pipelining: 1, headersTimeout: ANSWER_MS, bodyTimeout: ANSWER_MS });
    this.#path = url.pathname + url.search;
  }

  /** @param expected an answer of another status is kept in any case, for the error */
  post(body: Buffer, expected: number, keep: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let status = 0;
      this.#client.dispatch(
        { method: 'POST', path: this.#path, headers: this.#headers, body },
        {
          onRequestStart() {},
          onResponseStart(_controller, statusCode) {
            status = statusCode;
          },
          onResponseData(_controller, chunk) {
            if (keep || status !== expected) chunks.push(chunk);
          },
          onResponseEnd() {
            resolve({ status, body: keep || status !== expected ? Buffer.concat(chunks) : null });
          },
          onResponseError(_controller, error) {
            reject(error);
          },
        },
      );
    });
  }

  close(): Promise<void> {
    return this.#client.destroy();
  }
}
