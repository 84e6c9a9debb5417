import type { IncomingMessage } from 'node:http';
import { type PilumError, RequestError, SystemError } from '@pilum/core/errors/pilum-error.ts';
import { errorCodes } from 'fastify';

export interface UnfinishedLimits {
  readonly requests: number;
  /** Of all bodies together. One alone is let in whatever its size: that has a limit of its own. */
  readonly bytes: number;
  /** What a body comes in at least, bytes a second on average. */
  readonly bytesPerS: number;
}

export const USUAL_UNFINISHED: UnfinishedLimits = { requests: 1000, bytes: 64 * 1_048_576, bytesPerS: 8192 };

/** The pace of a body is not asked after before it has had so long, ms. */
const PACE_AFTER_MS = 10_000;
/** Where room is needed, a body may be given up after so long, ms. */
const GIVE_UP_AFTER_MS = 2000;
const LOOK_INTERVAL_MS = 1000;

/** A body that is not whole yet. */
interface Unfinished {
  readonly since: number;
  bytes: number;
  /** What of it is held here now. */
  held: number;
  /** Since when nothing has come of one that is passed on, while something was waited for; null while nothing is. */
  waitsSince: number | null;
  readonly isPassedOn: boolean;
  /** Ends it with an error for whoever sends it. */
  readonly giveUp: (error: PilumError) => void;
}

/**
 * The bodies that this process has not read to their ends: their number, their bytes together and their pace are bounded, since
 * who sends them slowly holds memory for nothing. Where there is no room, the slowest goes before a new one is refused.
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

  /** Bodies that were refused or given up, ever. */
  get givenUp(): number {
    return this.#givenUp;
  }

  /**
   * Reads a body whole.
   * @throws RequestError `REQUEST_TIMEOUT`, SystemError `TOO_MANY_UNFINISHED`; Fastify's own errors for one that is too large,
   *   and what the connection ends with
   */
  read(payload: IncomingMessage, limitBytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const said = payload.headers['content-length'];
      if (Number(said ?? 0) > limitBytes) {
        throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE();
      }
      const chunks: Buffer[] = [];
      const fail = (error: Error) => {
        leave();
        chunks.length = 0;
        reject(error);
      };
      const entry = this.#enter({ isPassedOn: false, giveUp: fail });
      const onData = (chunk: Buffer) => {
        chunks.push(chunk);
        entry.bytes += chunk.length;
        if (entry.bytes > limitBytes) fail(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE());
        else this.#hold(entry, chunk.length);
      };
      const onEnd = () => {
        if (said !== undefined && Number(said) !== entry.bytes) {
          fail(new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH());
          return;
        }
        leave();
        resolve(Buffer.concat(chunks, entry.bytes));
      };
      const onClose = () => fail(brokenOff());
      const leave = () => {
        this.#leave(entry);
        payload.off('data', onData).off('end', onEnd).off('error', fail).off('close', onClose);
        payload.on('error', ignore);
      };
      payload.on('data', onData).on('end', onEnd).on('error', fail).on('close', onClose);
    });
  }

  /**
   * The pieces of a body that is passed on as it comes.
   * @param holds what of it is held at a time, bytes
   * @throws as {@link read}
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
      // One that is given up is waited for no longer, and has nobody left to hear how it ends.
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

  /** Gives up the body that has come slowest, of those that had some time; false where there is none. */
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

  /** Gives up what comes too slowly. */
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

/** It is over; whoever sent it has gone. */
function ignore(): void {}
