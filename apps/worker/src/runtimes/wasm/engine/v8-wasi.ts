import { randomFillSync } from 'node:crypto';
import { WASI_FUNCTIONS } from '@pilum/core/wasm/wasi-functions.ts';
import type { EngineLayer } from './engine.ts';
import { ERRNO, WasiError } from './v8-errno.ts';
import { GuestFiles } from './v8-files.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const CLOCKS = { REALTIME: 0, MONOTONIC: 1 } as const;
const RESOLUTION_NS = 1000n;
const NS_PER_MS = 1_000_000;
/** The size of a subscription and of an event in memory, bytes; and the places of their fields. */
const SUBSCRIPTION = { BYTES: 48, TAG: 8, CLOCK_ID: 16, FD: 16, TIMEOUT: 24, FLAGS: 40 } as const;
const EVENT = { BYTES: 32, ERROR: 8, TYPE: 10, BYTES_THERE: 16 } as const;
const SUBSCRIBED = { CLOCK: 0, READ: 1, WRITE: 2 } as const;
const IS_ABSOLUTE = 1;
const MAX_SUBSCRIPTIONS = 1024;
/** `fd_fdstat_get`: what may be done with a descriptor. */
const RIGHTS = { READ: 1n << 1n, WRITE: 1n << 6n, POLL: 1n << 27n } as const;
/** `random_get` fills no more than this at once. */
const RANDOM_CHUNK_BYTES = 65_536;
const MAX_SLEEP_MS = 2 ** 31 - 1;

/** The exception by which a guest ends itself; thrown through its frames, which cannot catch it. */
export class ProcExit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit code ${code}`);
    this.code = code;
  }
}

export interface WasiDeps {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
  readonly layers: readonly EngineLayer[];
  /** Takes what is written; what it throws ends the guest. */
  readonly write: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void;
}

type Imports = Record<string, (...values: never[]) => number>;

const NOBODY: WasiDeps = { args: [], env: {}, stdin: new Uint8Array(), layers: [], write: () => undefined };

/**
 * WASI preview 1 (github.com/WebAssembly/WASI, legacy/preview1/docs.md) for guests that have arguments, an environment,
 * standard streams, clocks, random numbers and the files of layers, and no sockets. One guest after the other: the functions
 * are the same for all, and what they work on is the present one's.
 */
export class Wasi {
  /** Standard streams that are open. */
  readonly #open = new Set<number>();
  readonly #files = new GuestFiles({ view: () => this.#view(), bytes: (from, size) => this.#bytes(from, size) });
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  readonly imports: Imports = this.#makeImports();
  #deps = NOBODY;
  #args: Buffer[] = [];
  #env: Buffer[] = [];
  #memory: WebAssembly.Memory | null = null;
  #read = 0;

  /**
   * The next guest; nothing of the one before is left.
   * @throws WasiError where a layer is not there
   */
  begin(deps: WasiDeps): void {
    this.#deps = deps;
    this.#args = deps.args.map(cString);
    this.#env = Object.entries(deps.env).map(([name, value]) => cString(`${name}=${value}`));
    for (const fd of [STDIN, STDOUT, STDERR]) this.#open.add(fd);
    this.#memory = null;
    this.#read = 0;
    this.#files.begin(deps.layers);
  }

  /** The guest is gone, and so may be what it had. */
  end(): void {
    this.begin(NOBODY);
  }

  /** Says which memory the guest has, before it runs; none until then. */
  attach(memory: WebAssembly.Memory | null): void {
    this.#memory = memory;
  }

  #makeImports(): Imports {
    // Those without a function here work on descriptors that nobody has.
    const imports: Imports = Object.fromEntries(WASI_FUNCTIONS.map((name) => [name, () => ERRNO.BADF]));
    const functions: Record<string, (...values: number[]) => number> = {
      args_sizes_get: (count, size) => this.#sizes(this.#args, count, size),
      args_get: (pointers, bytes) => this.#strings(this.#args, pointers, bytes),
      environ_sizes_get: (count, size) => this.#sizes(this.#env, count, size),
      environ_get: (pointers, bytes) => this.#strings(this.#env, pointers, bytes),
      fd_close: (fd) => (this.#open.delete(at(fd)) ? ERRNO.SUCCESS : this.#files.close(at(fd))),
      fd_fdstat_get: (fd, to) => this.#fdstat(at(fd), at(to)),
      fd_fdstat_set_flags: (fd) => (this.#open.has(at(fd)) ? ERRNO.SUCCESS : this.#files.accept(at(fd))),
      fd_filestat_get: (fd, to) => this.#filestat(at(fd), at(to)),
      fd_read: (fd, vectors, count, to) => this.#fdRead(at(fd), at(vectors), at(count), at(to)),
      fd_write: (fd, vectors, count, to) => this.#fdWrite(at(fd), at(vectors), at(count), at(to)),
      fd_tell: (fd, to) => (this.#open.has(at(fd)) ? ERRNO.SPIPE : this.#files.tell(at(fd), at(to))),
      poll_oneoff: (from, to, count, countTo) => this.#poll(at(from), at(to), at(count), at(countTo)),
      proc_exit: (code) => {
        throw new ProcExit(at(code));
      },
      proc_raise: () => ERRNO.NOSYS,
      random_get: (to, size) => this.#random(at(to), at(size)),
      sched_yield: () => ERRNO.SUCCESS,
    };
    Object.assign(functions, this.#fileFunctions());
    for (const [name, run] of Object.entries(functions)) imports[name] = answering(run) as Imports[string];
    Object.assign(imports, this.#wideFunctions());
    return imports;
  }

  /** Makes the functions for files and directories. */
  #fileFunctions(): Record<string, (...values: number[]) => number> {
    const files = this.#files;
    const refuse = (fd?: number) => files.refuse(at(fd));
    return {
      fd_prestat_get: (fd, to) => files.prestat(at(fd), at(to)),
      fd_prestat_dir_name: (fd, to, size) => files.prestatName(at(fd), at(to), at(size)),
      fd_renumber: (from, to) => files.renumber(at(from), at(to)),
      fd_sync: (fd) => files.accept(at(fd)),
      fd_datasync: (fd) => files.accept(at(fd)),
      path_filestat_get: (fd, flags, path, size, to) => files.filestatAt(at(fd), at(flags), at(path), at(size), at(to)),
      path_readlink: (fd, path, pathSize, to, size, usedTo) =>
        files.readlink(at(fd), at(path), at(pathSize), at(to), at(size), at(usedTo)),
      path_create_directory: refuse,
      path_remove_directory: refuse,
      path_unlink_file: refuse,
      path_rename: refuse,
      path_link: refuse,
      path_symlink: (_target, _size, fd) => files.refuse(at(fd)),
    };
  }

  /** Makes the functions with 64-bit numbers among their parameters. */
  #wideFunctions(): Imports {
    const files = this.#files;
    const imports: Imports = {};
    imports.fd_seek = answering((fd: number, offset: bigint, whence: number, to: number) =>
      this.#open.has(at(fd)) ? ERRNO.SPIPE : files.seek(at(fd), offset, whence, at(to)),
    );
    imports.fd_pread = answering((fd: number, vectors: number, count: number, offset: bigint, to: number) =>
      this.#open.has(at(fd))
        ? ERRNO.SPIPE
        : files.readFrom(at(fd), this.#vectors(at(vectors), at(count)), offset, at(to)),
    );
    imports.fd_readdir = answering((fd: number, to: number, size: number, cookie: bigint, usedTo: number) =>
      files.readdir(at(fd), at(to), at(size), cookie, at(usedTo)),
    );
    imports.path_open = answering(
      (
        fd: number,
        lookup: number,
        path: number,
        size: number,
        flags: number,
        rights: bigint,
        _inheriting: bigint,
        _fdFlags: number,
        to: number,
      ) => files.openAt(at(fd), at(lookup), at(path), at(size), at(flags), rights, at(to)),
    );
    imports.fd_advise = answering((fd: number) => files.accept(at(fd)));
    imports.fd_allocate = answering((fd: number) => files.refuse(at(fd)));
    imports.fd_filestat_set_size = answering((fd: number) => files.refuse(at(fd)));
    imports.fd_filestat_set_times = answering((fd: number) => files.refuse(at(fd)));
    imports.path_filestat_set_times = answering((fd: number) => files.refuse(at(fd)));
    imports.clock_res_get = answering((id: number, to: number) => {
      if (!isClock(id)) return ERRNO.INVAL;
      this.#view().setBigUint64(at(to), RESOLUTION_NS, true);
      return ERRNO.SUCCESS;
    }) as Imports[string];
    imports.clock_time_get = answering((id: number, _precision: bigint, to: number) => {
      if (!isClock(id)) return ERRNO.INVAL;
      this.#view().setBigUint64(at(to), nowOf(id), true);
      return ERRNO.SUCCESS;
    }) as Imports[string];
    return imports;
  }

  #view(): DataView {
    return new DataView(this.#buffer());
  }

  #bytes(from: number, size: number): Uint8Array {
    return new Uint8Array(this.#buffer(), from, size);
  }

  #buffer(): ArrayBuffer {
    if (this.#memory === null) throw new RangeError('the module exports no memory');
    return this.#memory.buffer as ArrayBuffer;
  }

  #sizes(strings: readonly Buffer[], count = 0, size = 0): number {
    const view = this.#view();
    view.setUint32(at(count), strings.length, true);
    const bytes = strings.reduce((sum, { length }) => sum + length, 0);
    view.setUint32(at(size), bytes, true);
    return ERRNO.SUCCESS;
  }

  #strings(strings: readonly Buffer[], pointers = 0, bytes = 0): number {
    const view = this.#view();
    let to = at(bytes);
    for (const [index, string] of strings.entries()) {
      view.setUint32(at(pointers) + 4 * index, to, true);
      this.#bytes(to, string.length).set(string);
      to += string.length;
    }
    return ERRNO.SUCCESS;
  }

  #fdstat(fd: number, to: number): number {
    if (!this.#open.has(fd)) return this.#files.fdstat(fd, to);
    this.#bytes(to, 24).fill(0); // of an unknown type, with no flags
    this.#view().setBigUint64(to + 8, (fd === STDIN ? RIGHTS.READ : RIGHTS.WRITE) | RIGHTS.POLL, true);
    return ERRNO.SUCCESS;
  }

  #filestat(fd: number, to: number): number {
    if (!this.#open.has(fd)) return this.#files.filestat(fd, to);
    this.#bytes(to, 64).fill(0);
    return ERRNO.SUCCESS;
  }

  #fdRead(fd: number, vectors: number, count: number, to: number): number {
    if (!this.#open.has(fd)) return this.#files.read(fd, this.#vectors(vectors, count), to);
    if (fd !== STDIN) return ERRNO.BADF;
    const { stdin } = this.#deps;
    let total = 0;
    for (const bytes of this.#vectors(vectors, count)) {
      const part = stdin.subarray(this.#read, this.#read + bytes.length);
      bytes.set(part);
      this.#read += part.length;
      total += part.length;
      if (this.#read === stdin.length) break;
    }
    this.#view().setUint32(to, total, true);
    return ERRNO.SUCCESS;
  }

  #fdWrite(fd: number, vectors: number, count: number, to: number): number {
    if ((fd !== STDOUT && fd !== STDERR) || !this.#open.has(fd)) return ERRNO.BADF;
    let total = 0;
    for (const bytes of this.#vectors(vectors, count)) {
      // A copy: what stands in the guest's memory is its own again afterwards.
      if (bytes.length > 0) this.#deps.write(fd === STDOUT ? 'stdout' : 'stderr', bytes.slice());
      total += bytes.length;
    }
    this.#view().setUint32(to, total, true);
    return ERRNO.SUCCESS;
  }

  *#vectors(from: number, count: number): Generator<Uint8Array> {
    const view = this.#view();
    for (let i = 0; i < count; i++) {
      yield this.#bytes(view.getUint32(from + 8 * i, true), view.getUint32(from + 8 * i + 4, true));
    }
  }

  #random(to: number, size: number): number {
    for (let done = 0; done < size; done += RANDOM_CHUNK_BYTES) {
      randomFillSync(this.#bytes(to + done, Math.min(RANDOM_CHUNK_BYTES, size - done)));
    }
    return ERRNO.SUCCESS;
  }

  /** Waits for the first of some clocks; standard streams are always ready. The thread sleeps, and burns nothing. */
  #poll(from: number, to: number, count: number, countTo: number): number {
    if (count === 0 || count > MAX_SUBSCRIPTIONS) return ERRNO.INVAL;
    const view = this.#view();
    const subscriptions = Array.from({ length: count }, (_, index) => this.#subscription(view, from, index));
    const shortestMs = Math.min(...subscriptions.map(({ waitMs }) => waitMs));
    if (shortestMs > 0) Atomics.wait(this.#pause, 0, 0, shortestMs);
    let events = 0;
    for (const { userData, type, error, waitMs } of subscriptions) {
      if (waitMs > shortestMs) continue;
      const event = to + EVENT.BYTES * events++;
      this.#bytes(event, EVENT.BYTES).fill(0);
      view.setBigUint64(event, userData, true);
      view.setUint16(event + EVENT.ERROR, error, true);
      view.setUint8(event + EVENT.TYPE, type);
      const left = type === SUBSCRIBED.READ ? this.#deps.stdin.length - this.#read : 0;
      view.setBigUint64(event + EVENT.BYTES_THERE, BigInt(left), true);
    }
    view.setUint32(countTo, events, true);
    return ERRNO.SUCCESS;
  }

  #subscription(view: DataView, from: number, index: number) {
    const start = from + SUBSCRIPTION.BYTES * index;
    const userData = view.getBigUint64(start, true);
    const type = view.getUint8(start + SUBSCRIPTION.TAG);
    if (type !== SUBSCRIBED.CLOCK) {
      const fd = view.getUint32(start + SUBSCRIPTION.FD, true);
      const isOpen = this.#open.has(fd) || this.#files.has(fd);
      return { userData, type, error: isOpen ? ERRNO.SUCCESS : ERRNO.BADF, waitMs: 0 };
    }
    const clock = view.getUint32(start + SUBSCRIPTION.CLOCK_ID, true);
    if (!isClock(clock)) return { userData, type, error: ERRNO.INVAL, waitMs: 0 };
    const timeout = view.getBigUint64(start + SUBSCRIPTION.TIMEOUT, true);
    const isAbsolute = (view.getUint16(start + SUBSCRIPTION.FLAGS, true) & IS_ABSOLUTE) !== 0;
    const waitNs = isAbsolute ? timeout - nowOf(clock) : timeout;
    const waitMs = Math.max(0, Math.ceil(Number(waitNs) / NS_PER_MS));
    return { userData, type, error: ERRNO.SUCCESS, waitMs: Math.min(MAX_SLEEP_MS, waitMs) };
  }
}

/** An address or a number without a sign, of what WebAssembly passes with one. */
const at = (value = 0) => value >>> 0;
const cString = (text: string) => Buffer.from(`${text}\0`, 'utf8');
const isClock = (id: number) => id === CLOCKS.REALTIME || id === CLOCKS.MONOTONIC;

function nowOf(clock: number): bigint {
  if (clock === CLOCKS.MONOTONIC) return process.hrtime.bigint();
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

/** Makes a function tell the guest what cannot be done, addresses outside of its memory too. */
function answering<A extends never[]>(run: (...values: A) => number): (...values: A) => number {
  return (...values) => {
    try {
      return run(...values);
    } catch (error) {
      if (error instanceof WasiError) return error.errno;
      if (error instanceof RangeError) return ERRNO.FAULT;
      throw error;
    }
  };
}
