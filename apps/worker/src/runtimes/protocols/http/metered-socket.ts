import { randomBytes } from 'node:crypto';
import { type NetConnectOpts, Socket } from 'node:net';
import type { buildConnector, Dispatcher } from 'undici';
import type { Throttle } from '../output/throttle.ts';
import { type Exchange, isClosedByOther, MOST_AT_ONCE, wasClosedBefore } from './exchange.ts';
import { PatientSocket } from './patient-socket.ts';

/**
 * The weight of what is read of an answer beside its body: it is parsed piece by piece, and costs so many times what a byte
 * of output does.
 */
const OVERHEAD_WEIGHT = 8;
/** The cost of a piece of a body, however short it is. */
const PIECE_COST = 64;
/** The bytes of the id with which each connection to a bridge begins. */
const ID_BYTES = 8;

/**
 * Charges what one server sends to the budget of its instance, as it is read: everything that is not body — heads, answers
 * with 1xx, frames of chunks, trailers — and every piece of a body. Where the budget is used up its sockets are not read,
 * so that the server waits in its own writes. The weight of a body is bounded by whoever takes it.
 */
export class ServerMeter {
  readonly #throttle: Throttle;
  readonly #onHeard: () => void;
  /** The bytes that have come on each socket and wait to be parsed: in the socket itself, and in what stands before it. */
  readonly #sockets = new Map<MeteredSocket, { readonly readableLength: number } | null>();
  /** The request that is about to be written, in this turn of the event loop. */
  #starting: Exchange | null = null;
  #read = 0;
  #delivered = 0;
  #charged = 0;

  /** @param onHeard is told of each piece of a body */
  constructor(throttle: Throttle, onHeard: () => void = () => undefined) {
    this.#throttle = throttle;
    this.#onHeard = onHeard;
  }

  /** Makes connections that are metered. */
  connector(to: NetConnectOpts): buildConnector.connector {
    return (_options, callback) => {
      const isBridged = 'path' in to;
      const socket = new MeteredSocket(this, isBridged);
      const onFailure = (error: Error) => callback(error, null);
      socket.once('error', onFailure);
      socket.once('connect', () => {
        socket.off('error', onFailure);
        socket.introduce();
        // A bridge, which a path leads to, is patient itself.
        const patient = isBridged ? null : new PatientSocket(socket);
        this.#sockets.set(socket, patient);
        // The class has all that is used of a socket.
        callback(null, (patient ?? socket) as unknown as Socket);
      });
      this.#sockets.set(socket, null);
      this.#throttle.add(socket.gate);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#throttle.remove(socket.gate);
      });
      socket.connect(to);
      socket.setNoDelay(true);
    };
  }

  /** Counts the pieces of bodies, and notes which connection a request goes out on: it is written as soon as it is started. */
  readonly interceptor: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
    dispatch(
      options,
      observed(handler, {
        onStart: () => {
          this.#starting = (options as { readonly exchange?: Exchange }).exchange ?? null;
        },
        onPiece: (bytes) => this.#onPiece(bytes),
      }),
    );

  /** Returns the request that is about to be written; null for whatever else is. */
  takeStarting(): Exchange | null {
    const starting = this.#starting;
    this.#starting = null;
    return starting;
  }

  /** Counts bytes that have come on one of the sockets; those before them were parsed, unless they wait in one. */
  arrived(bytes: number): void {
    let unparsed = 0;
    for (const [socket, before] of this.#sockets) unparsed += socket.readableLength + (before?.readableLength ?? 0);
    const overhead = this.#read - this.#delivered - unparsed;
    this.#read += bytes;
    if (overhead <= this.#charged) return;
    this.#throttle.spend((overhead - this.#charged) * OVERHEAD_WEIGHT);
    this.#charged = overhead;
  }

  #onPiece(bytes: number): void {
    this.#delivered += bytes;
    this.#onHeard();
    this.#throttle.spend(PIECE_COST);
  }
}

/** A handler that is told all that another is, with somebody else told of the start and of the pieces of bodies. */
function observed(
  handler: Dispatcher.DispatchHandler,
  { onStart, onPiece }: { readonly onStart: () => void; readonly onPiece: (bytes: number) => void },
): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (...told) => {
      onStart();
      handler.onRequestStart?.(...told);
    },
    onRequestUpgrade: (...told) => handler.onRequestUpgrade?.(...told),
    onResponseStart: (...told) => handler.onResponseStart?.(...told),
    onResponseData: (controller, chunk) => {
      onPiece(chunk.length);
      handler.onResponseData?.(controller, chunk);
    },
    onResponseEnd: (...told) => handler.onResponseEnd?.(...told),
    onResponseError: (...told) => handler.onResponseError?.(...told),
  };
}

/** A socket that stops reading while its gate is closed, whoever reads it and in which way. */
class MeteredSocket extends Socket {
  readonly #meter: ServerMeter;
  /** The id by which a bridge knows it; null on the way to the server itself. */
  readonly #id: Buffer | null;
  #requests = 0;
  /** The request that was written last, with the bytes that had been read before it. */
  #last: { readonly exchange: Exchange; readonly read: number } | null = null;
  #isClosed = false;
  #wantsMore = false;

  /** @param isBridged whether it leads to a bridge, which is told its id */
  constructor(meter: ServerMeter, isBridged: boolean) {
    super();
    this.#meter = meter;
    this.#id = isBridged ? randomBytes(ID_BYTES) : null;
  }

  /** Begins to note requests, now that it is connected, and tells a bridge which connection this is. */
  introduce(): void {
    if (this.#id !== null) this.write(this.#id);
    const write = this.write.bind(this) as (...args: unknown[]) => boolean;
    // Where it connects, Node takes back a `write` that a class has of its own.
    this.write = (...args: unknown[]) => {
      const exchange = this.#meter.takeStarting();
      return exchange !== null && this.#isGone(exchange) ? false : write(...args);
    };
    this.once('end', () => this.#onEnd());
  }

  /** The server has closed its side: it may have done so before the last request came to it. */
  #onEnd(): void {
    if (this.#last === null || this.#id !== null) return;
    const { exchange, read } = this.#last;
    if (this.bytesRead !== read || this.bytesWritten - exchange.offset > MOST_AT_ONCE) return;
    exchange.isUnsent = exchange.isReused && wasClosedBefore(this);
  }

  /** Notes that a request is written next. True where its connection is closed, and nothing is to be written. */
  #isGone(exchange: Exchange): boolean {
    exchange.connection = this.#id?.toString('hex') ?? '';
    exchange.offset = this.bytesWritten - (this.#id?.length ?? 0);
    exchange.isReused = this.#requests++ > 0;
    this.#last = { exchange, read: this.bytesRead };
    // What a bridge has not handed on it says when it is asked.
    if (!exchange.isReused || this.#id !== null || !isClosedByOther(this)) return false;
    exchange.isUnsent = true;
    this.destroy();
    return true;
  }

  /** The gate that a {@link Throttle} closes and opens. */
  readonly gate = {
    pause: () => {
      this.#isClosed = true;
    },
    resume: () => {
      this.#isClosed = false;
      if (!this.#wantsMore || this.destroyed) return;
      this.#wantsMore = false;
      super._read(0);
    },
  };

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null) this.#meter.arrived((chunk as Buffer).length);
    // False: the system is asked for no more until somebody reads.
    return super.push(chunk, encoding) && !this.#isClosed;
  }

  override _read(size: number): void {
    if (this.#isClosed) this.#wantsMore = true;
    else super._read(size);
  }
}
