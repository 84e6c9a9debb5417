import { type NetConnectOpts, Socket } from 'node:net';
import type { buildConnector, Dispatcher } from 'undici';
import type { Throttle } from '../output/throttle.ts';
import { PatientSocket } from './patient-socket.ts';

/**
 * The weight of what is read of an answer beside its body: it is parsed piece by piece, and costs so many times what a byte
 * of output does.
 */
const OVERHEAD_WEIGHT = 8;
/** The cost of a piece of a body, however short it is. */
const PIECE_COST = 64;

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
      const socket = new MeteredSocket(this);
      const onFailure = (error: Error) => callback(error, null);
      socket.once('error', onFailure);
      socket.once('connect', () => {
        socket.off('error', onFailure);
        // A bridge, which a path leads to, is patient itself.
        const patient = 'path' in to ? null : new PatientSocket(socket);
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

  /** Counts the pieces of bodies. */
  readonly interceptor: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
    dispatch(
      options,
      counted(handler, (bytes) => this.#onPiece(bytes)),
    );

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

/** A handler that is told all that another is, with the pieces of bodies counted. */
function counted(handler: Dispatcher.DispatchHandler, onPiece: (bytes: number) => void): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (...told) => handler.onRequestStart?.(...told),
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
  #isClosed = false;
  #wantsMore = false;

  constructor(meter: ServerMeter) {
    super();
    this.#meter = meter;
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
