/** One event of a stream, as a client has it. */
export interface StreamEvent {
  readonly id: string;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of any shape
  readonly data: any;
}

/** An answer of server-sent events, read by the test itself, so that it can break off where it likes. */
export class EventStream {
  readonly response: Response;
  readonly #abort: AbortController;
  readonly #events: AsyncGenerator<StreamEvent>;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.#events = eventsOf(response);
  }

  static async open(url: string, init: RequestInit = {}): Promise<EventStream> {
    const abort = new AbortController();
    return new EventStream(await fetch(url, { ...init, signal: abort.signal }), abort);
  }

  /** The task that it is of. */
  get taskId(): string {
    return this.response.headers.get('location')?.split('/').at(-1) ?? '';
  }

  /** The next event; null where there are no more. */
  async next(): Promise<StreamEvent | null> {
    const { done, value } = await this.#events.next();
    return done === true ? null : value;
  }

  /** So many events. */
  async take(count: number): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    while (events.length < count) {
      const event = await this.next();
      if (event === null)
        throw new Error(`the stream ended after ${events.length} events: ${JSON.stringify(events.at(-1))}`);
      events.push(event);
    }
    return events;
  }

  /** All events until the stream ends. */
  async rest(): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for (let event = await this.next(); event !== null; event = await this.next()) events.push(event);
    return events;
  }

  /** Breaks the connection. */
  break(): void {
    this.#abort.abort();
  }
}

async function* eventsOf(response: Response): AsyncGenerator<StreamEvent> {
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes as Uint8Array, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      if (fields.event !== undefined) {
        yield { id: fields.id ?? '', event: fields.event, data: JSON.parse(fields.data ?? 'null') };
      }
    }
  }
}
