import type { IncomingMessage } from 'node:http';
import { type PilumError, RequestError, SystemError } from '@pilum/core/errors/pilum-error.ts';
import { errorCodes } from 'fastify';

export interface UnfinishedLimits {
  readonly requests: number;
  /** Limit of all bodies together, bytes. A single body is always let in, because its route has a limit of its own. */
  readonly bytes: number;
  /** Slowest pace of a body, bytes a second on average. */
  readonly bytesPerS: number;
}

export const USUAL_UNFINISHED: UnfinishedLimits = { requests: 1000, bytes: 64 * 1_048_576, bytesPerS: 8192 };

/** Age from which the pace of a body is checked, ms. */
const PACE_AFTER_MS = 10_000;
/** Age from which a body may be given up to make room for others, ms. */
const GIVE_UP_AFTER_MS = 2000;
const LOOK_INTERVAL_MS = 1000;

/** A body whose end has not arrived yet. */
interface Unfinished {
  readonly since: number;
  bytes: number;
  /** Bytes of it that this process holds now. */
  held: number;
  /** Start of the current wait for the next piece of a body that is passed on; null while no piece is awaited. */
  waitsSince: number | null;
  readonly isPassedOn: boolean;
  /** Ends the body with an error for its sender. */
  readonly giveUp: (error: PilumError) => void;
}

/**
 * Bounds the number, the total size and the pace of bodies that have not arrived whole: a slow sender holds memory for nothing. To
 * make room for a new body, the slowest one is given up.
 */
export class UnfinishedBodies {
  readonly #limits: UnfinishedLimits;
  readonly #open = new Set<Unfinished>();
  #held = 0;
  #givenUp = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: UnfinishedLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#open.size;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /** Bodies refused or given up since the process started. */
  get givenUp(): number {
    return this.#givenUp;
  }

  /**
   * Reads a whole body.
   * @throws RequestError `REQUEST_TIMEOUT`, SystemError `TOO_MANY_UNFINISHED`; Fastify's own error for a body that is too large; the
   *   error of the connection
   */
  read(payload: IncomingMessage, limitBytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const said = payload.headers['content-length'];
      if (Number(said ?? 0) > limitBytes) {
        throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE();
      }
      const chunks: Buffer[] = [];
      // The listeners stay until the body goes, because every call would pay for taking them off. They hear nothing once this is over.
      let isOver = false;
      const fail = (error: Error) => {
        if (isOver) return;
        isOver = true;
        this.#leave(entry);
        chunks.length = 0;
        reject(error);
      };
      const entry = this.#enter({ isPassedOn: false, giveUp: fail });
      payload.on('data', (chunk: Buffer) => {
        if (isOver) return;
        chunks.push(chunk);
        entry.bytes += chunk.length;
        if (entry.bytes > limitBytes) fail(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE());
        else this.#hold(entry, chunk.length);
      });
      payload.on('end', () => {
        if (isOver) return;
        if (said !== undefined && Number(said) !== entry.bytes) {
          fail(new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH());
          return;
        }
        isOver = true;
        this.#leave(entry);
        resolve(Buffer.concat(chunks, entry.bytes));
      });
      payload.on('error', fail);
      payload.on('close', () => {
        if (!isOver) fail(brokenOff());
      });
    });
  }

  /**
   * Yields the pieces of a body as they arrive.
   * @param holds bytes held at a time
   * @throws the errors of {@link read}
   */
  async *passOn(payload: IncomingMessage, holds: number): AsyncGenerator<Buffer> {
    let givenUp: PilumError | null = null;
    let stopWaiting: (error: PilumError) => void = ignore;
    const entry = this.#enter({
      isPassedOn: true,
      giveUp: (error) => {
        givenUp = error;
        stopWaiting(error);
      },
    });
    const pieces = payload.iterator({ destroyOnReturn: false });
    try {
      this.#hold(entry, holds);
      if (givenUp !== null) throw givenUp;
      for (;;) {
        entry.waitsSince = performance.now();
        const next = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
          stopWaiting = reject;
          pieces.next().then(resolve, reject);
        });
        entry.waitsSince = null;
        if (next.done === true) return;
        entry.bytes += next.value.length;
        yield next.value;
      }
    } finally {
      this.#leave(entry);
      // A body that was given up has ended already; its stream may never answer.
      if (givenUp === null) await pieces.return?.();
    }
  }

  #enter(what: Pick<Unfinished, 'isPassedOn' | 'giveUp'>): Unfinished {
    const { requests } = this.#limits;
    if (this.#open.size >= requests && !this.#giveUpSlowest()) {
      this.#givenUp++;
      throw full(`${this.#open.size} bodies`);
    }
    const entry: Unfinished = { since: performance.now(), bytes: 0, held: 0, waitsSince: null, ...what };
    this.#open.add(entry);
    this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL_MS).unref();
    return entry;
  }

  #leave(entry: Unfinished): void {
    if (this.#open.delete(entry)) this.#held -= entry.held;
  }

  #hold(entry: Unfinished, bytes: number): void {
    entry.held += bytes;
    this.#held += bytes;
    while (this.#held > this.#limits.bytes && this.#open.size > 1) {
      if (this.#giveUpSlowest(entry)) continue;
      this.#end(entry, full(`bodies with ${this.#held} bytes`));
      return;
    }
  }

  /** Gives up the slowest body that is old enough; false if there is none. */
  #giveUpSlowest(but?: Unfinished): boolean {
    const now = performance.now();
    let slowest: Unfinished | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (const entry of this.#open) {
      const ageMs = now - entry.since;
      if (entry === but || entry.isPassedOn || ageMs < GIVE_UP_AFTER_MS) continue;
      const pace = entry.bytes / ageMs;
      if (pace >= least) continue;
      least = pace;
      slowest = entry;
    }
    if (slowest === null) return false;
    const message = 'The body came slower than any other, and its room was needed.';
    this.#end(slowest, new RequestError('REQUEST_TIMEOUT', { message }));
    return true;
  }

  /** Gives up bodies that arrive too slowly. */
  #look(): void {
    if (this.#open.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const now = performance.now();
    const { bytesPerS } = this.#limits;
    for (const entry of [...this.#open]) {
      const ageMs = now - entry.since;
      const isSlow = entry.isPassedOn
        ? entry.waitsSince !== null && now - entry.waitsSince > PACE_AFTER_MS
        : ageMs > PACE_AFTER_MS && (entry.bytes / ageMs) * 1000 < bytesPerS;
      if (!isSlow) continue;
      const message = entry.isPassedOn
        ? `Nothing of the body came for ${PACE_AFTER_MS / 1000} s.`
        : `Of the body came ${entry.bytes} bytes in ${Math.round(ageMs / 1000)} s, and it must come at ${bytesPerS} bytes/s.`;
      this.#end(entry, new RequestError('REQUEST_TIMEOUT', { message }));
    }
  }

  #end(entry: Unfinished, error: PilumError): void {
    this.#givenUp++;
    this.#leave(entry);
    entry.giveUp(error);
  }
}

const full = (what: string) =>
  new SystemError('TOO_MANY_UNFINISHED', {
    message: `This process holds ${what} that are not whole yet, and may hold no more.`,
    details: { retryAfterS: 1 },
  });

const brokenOff = () => new RequestError('VALIDATION_FAILED', { message: 'The body broke off.' });

/** Ignores an error of a stream that has ended and whose sender has gone. */
function ignore(): void {}
