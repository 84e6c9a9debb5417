// One thread of the V8 engine: runs one guest after the other, each in an instance and a memory of its own.
import { parentPort } from 'node:worker_threads';
import { WASI_MODULE } from '@pilum/core/wasm/wasi-functions.ts';
import type { EngineCall, EngineOutcome, Entry, StreamName } from './engine.ts';
import { ProcExit, Wasi } from './v8-wasi.ts';

export interface ThreadModule {
  readonly module: WebAssembly.Module;
  readonly entry: Entry;
}

/** The order that a thread gets: a module comes once, as sending one takes as long as a small call. */
export type ThreadOrder =
  | { readonly kind: 'module'; readonly key: string; readonly prepared: ThreadModule }
  | { readonly kind: 'forget'; readonly key: string }
  | ({ readonly kind: 'call' } & ThreadCall);

export interface ThreadCall
  extends Pick<EngineCall, 'id' | 'key' | 'args' | 'env' | 'layers' | 'memoryBytes' | 'outputBytes'> {
  readonly payload: Uint8Array;
  /** The bytes that may still be written of a streamed output; null where it is wanted whole. */
  readonly credit: Int32Array<SharedArrayBuffer> | null;
}

export type ThreadMessage =
  | { readonly kind: 'written'; readonly id: number; readonly stream: StreamName; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly id: number; readonly outcome: EngineOutcome };

/** The bytes that a call may print at once, and per second for ever; beyond them the guest waits, and nobody else does. */
const BURST_BYTES = 1024 * 1024;
const BYTES_PER_MS = 2 * 1024;
/** The cost of a write beside its bytes: it becomes a message, and a line. */
const WRITE_COST = 512;
/** The piece of a streamed output that is passed on at once, bytes. */
const PIECE_BYTES = 64 * 1024;
/** A guest that fails with so much of its memory used is taken to have failed for lack of more. */
const NEARLY_ALL = 7 / 8;

/** A guest that has written more than it may; it is ended where it stands. */
class TooMuchOutput extends Error {}

const modules = new Map<string, ThreadModule>();
const wasi = new Wasi();
const pause = new Int32Array(new SharedArrayBuffer(4));
const port = parentPort;
if (port === null) throw new Error('this is a worker thread');
const post = (message: ThreadMessage) => port.postMessage(message);

port.on('message', (order: ThreadOrder) => {
  if (order.kind === 'module') modules.set(order.key, order.prepared);
  else if (order.kind === 'forget') modules.delete(order.key);
  else post({ kind: 'end', id: order.id, outcome: runCall(order) });
});

function runCall(call: ThreadCall): EngineOutcome {
  const prepared = modules.get(call.key);
  return prepared === undefined ? { kind: 'error', message: 'the module is gone' } : run(call, prepared);
}

function run(call: ThreadCall, { module, entry }: ThreadModule): EngineOutcome {
  const since = performance.now();
  const ok = (body: Uint8Array): EngineOutcome => ({ kind: 'ok', body, tookUs: (performance.now() - since) * 1000 });
  const output: Uint8Array[] = [];
  let outputBytes = 0;
  const log = throttledLog(call.id);
  const isCommand = entry.kind === 'command';
  const deps = {
    args: call.args,
    env: call.env,
    layers: call.layers,
    stdin: isCommand ? call.payload : new Uint8Array(),
    write(stream: 'stdout' | 'stderr', bytes: Uint8Array) {
      if (stream === 'stderr' || !isCommand) {
        log(stream, bytes);
        return;
      }
      if (call.credit !== null) {
        passOn(call.id, bytes, call.credit);
        return;
      }
      outputBytes += bytes.length;
      if (outputBytes > call.outputBytes) throw new TooMuchOutput();
      output.push(bytes);
    },
  };
  let memory: WebAssembly.Memory | null = null;
  try {
    wasi.begin(deps);
  } catch (error) {
    return { kind: 'error', message: `a layer cannot be opened: ${messageOf(error)}` };
  }
  try {
    const { exports } = new WebAssembly.Instance(module, { [WASI_MODULE]: wasi.imports });
    memory = exports.memory instanceof WebAssembly.Memory ? exports.memory : null;
    wasi.attach(memory);
    const body = callEntry(call, entry, exports, memory);
    return ok(body ?? Buffer.concat(output));
  } catch (error) {
    if (error instanceof ProcExit && error.code === 0) return ok(Buffer.concat(output));
    if (error instanceof TooMuchOutput) return { kind: 'output', message: 'its result is too large' };
    const isFull = memory !== null && memory.buffer.byteLength >= call.memoryBytes * NEARLY_ALL;
    if (isFull) return { kind: 'memory', message: messageOf(error) };
    if (error instanceof ProcExit) return { kind: 'exit', code: error.code };
    return { kind: 'trap', message: messageOf(error) };
  } finally {
    wasi.end();
  }
}

/** Returns the result, or null where it is what was printed. */
function callEntry(
  { payload, outputBytes }: ThreadCall,
  entry: Entry,
  exports: WebAssembly.Exports,
  memory: WebAssembly.Memory | null,
): Uint8Array | null {
  const functionOf = (name: string) => exports[name] as (...values: (number | bigint)[]) => unknown;
  if (entry.kind === 'command') {
    functionOf('_start')();
    return null;
  }
  if (typeof exports._initialize === 'function') functionOf('_initialize')();
  if (entry.kind === 'numbers') {
    const { parameters, results } = entry.type;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const returned = functionOf(entry.name)(...parameters.map((type, index) => READ[type]?.(view, 8 * index) ?? 0));
    const values = (results.length === 1 ? [returned] : [...((returned ?? []) as Iterable<unknown>)]) as never[];
    const raw = new DataView(new ArrayBuffer(8 * results.length));
    for (const [index, type] of results.entries()) WRITE[type]?.(raw, 8 * index, values[index] as never);
    return new Uint8Array(raw.buffer);
  }
  if (memory === null) throw new Error('it exports no memory');
  const address = Number(functionOf(entry.allocator)(payload.length)) >>> 0;
  if (address + payload.length > memory.buffer.byteLength) {
    throw new Error('its allocator returned an address outside of its memory');
  }
  new Uint8Array(memory.buffer).set(payload, address);
  const packed = BigInt.asUintN(64, functionOf(entry.name)(address, payload.length) as bigint);
  const [from, size] = [Number(packed >> 32n), Number(packed & 0xffff_ffffn)];
  if (size > outputBytes) throw new Error('its result is larger than limits.outputMiB');
  if (from + size > memory.buffer.byteLength) throw new Error('it returned bytes outside of its memory');
  return new Uint8Array(memory.buffer.slice(from, from + size));
}

const READ: Readonly<Record<string, (view: DataView, at: number) => number | bigint>> = {
  i32: (view, at) => view.getInt32(at, true),
  i64: (view, at) => view.getBigInt64(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  f64: (view, at) => view.getFloat64(at, true),
};
const WRITE: Readonly<Record<string, (view: DataView, at: number, value: never) => void>> = {
  i32: (view, at, value) => view.setInt32(at, value, true),
  i64: (view, at, value) => view.setBigInt64(at, value, true),
  f32: (view, at, value) => view.setFloat32(at, value, true),
  f64: (view, at, value) => view.setFloat64(at, value, true),
};

function throttledLog(id: number): (stream: StreamName, bytes: Uint8Array) => void {
  let budget = BURST_BYTES;
  let filledAtMs = performance.now();
  return (stream, bytes) => {
    const nowMs = performance.now();
    budget = Math.min(BURST_BYTES, budget + (nowMs - filledAtMs) * BYTES_PER_MS);
    filledAtMs = nowMs;
    budget -= bytes.length + WRITE_COST;
    if (budget < 0) Atomics.wait(pause, 0, 0, -budget / BYTES_PER_MS + 1);
    post({ kind: 'written', id, stream, bytes });
  };
}

/** Passes output on in pieces, each when there is credit for one: the thread sleeps until there is. */
function passOn(id: number, bytes: Uint8Array, credit: Int32Array<SharedArrayBuffer>): void {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.slice(at, at + PIECE_BYTES);
    for (let left = Atomics.load(credit, 0); left <= 0; left = Atomics.load(credit, 0)) Atomics.wait(credit, 0, left);
    Atomics.sub(credit, 0, piece.length);
    post({ kind: 'written', id, stream: 'chunk', bytes: piece });
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
