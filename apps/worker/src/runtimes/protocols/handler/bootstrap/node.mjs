// Runs inside the sandbox: loads one handler and answers calls over fd 3. The frames are those of ../frames.ts.
// It sets no globals, and takes what it needs from the language before user code can change it.
import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

/** The descriptor of the channel: inherited, or in a container that of the connection made below. */
let channel = 3;
const LOAD = 1;
const CALL = 2;
const READY = 3;
const RESULT = 4;
const ERROR = 5;
const LOG = 6;
const ABORT = 7;
const PING = 8;
const PONG = 9;
const PREPARE = 10;
const CHUNK = 11;
const CREDIT = 12;
const PROGRESS = 13;
const HEAD = 14;
const HEAD_BYTES = 9;
const MAX_MESSAGE = 8 * 1024;
const MAX_STACK = 16 * 1024;
/** Below this a copy is cheaper than a second system call. */
const ONE_WRITE_BYTES = 64 * 1024;
/** A LOG frame stays well below what the worker lets through. */
const MAX_LOG_BYTES = 64 * 1024;
const MAX_PROGRESS = 16 * 1024;

// Of a streamed call: what a chunk is, and how much of it may be on its way.
const JSON_CHUNK = 1;
const TEXT_CHUNK = 2;
const BYTES_CHUNK = 3;
const MAX_CHUNK = 1024 * 1024;
/** Longer text and bytes go in pieces of this. */
const CHUNK_PIECE = 256 * 1024;
const CHUNK_WINDOW = 256 * 1024;
/** What stands before a chunk: its length and kind. */
const CHUNK_HEAD = 5;
/** Chunks that follow each other within a millisecond share a write, up to so many bytes. */
const CHUNKS_PER_WRITE = 32 * 1024;

// Of a web endpoint's answer. The worker looks at a head again, and ends whoever sends one that is none.
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const MAX_HEADERS = 256;
const MAX_HEADER_BYTES = 32 * 1024;
/** Of the body of an answer that is an invoke's failure, what is told. */
const MAX_EXCERPT = 2048;

const { writeSync } = fs;
const { parse, stringify } = JSON;
const exit = process.exit.bind(process);
const pause = new Int32Array(new SharedArrayBuffer(4));
const now = Date.now;
const tick = performance.now.bind(performance);
const nextTurn = setImmediate;
const Parameters = URLSearchParams;

// ---- Out

function writeAll(bytes) {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += writeSync(channel, bytes, offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') exit(1);
      // The worker reads slower than this writes, on purpose where it is a flood: wait, and burn no CPU.
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

const NOTHING = Buffer.alloc(0);

function send(type, meta, payload = NOTHING) {
  if (packedEnd > PACKED_START) flushChunks();
  const whole = payload.length <= ONE_WRITE_BYTES;
  writeAll(encode(type, meta, payload, whole));
  if (!whole) writeAll(payload);
}

/** @param whole with the payload in it; else only what stands before it */
function encode(type, meta, payload, whole) {
  const json = Buffer.from(stringify(meta));
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + json.length + (whole ? payload.length : 0));
  bytes.writeUInt32BE(HEAD_BYTES - 4 + json.length + payload.length, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32BE(json.length, 5);
  json.copy(bytes, HEAD_BYTES);
  if (whole) payload.copy(bytes, HEAD_BYTES + json.length);
  return bytes;
}

/** Chunks are put together here, behind room for what stands before them in their message. */
const PACKED_START = 64;
let packed = null;
let packedEnd = PACKED_START;
let packedId = 0;
let chunksWrittenAt = 0;

/** A chunk goes at once, unless one has just gone: then it waits for others, until the function waits for something. */
function sendChunk(id, kind, value, size) {
  const needed = CHUNK_HEAD + size;
  if (packed === null) packed = Buffer.allocUnsafeSlow(PACKED_START + CHUNKS_PER_WRITE);
  if (packedEnd + needed > packed.length) flushChunks();
  if (PACKED_START + needed > packed.length) {
    const head = Buffer.allocUnsafe(CHUNK_HEAD);
    head.writeUInt32BE(size, 0);
    head[4] = kind;
    send(CHUNK, { id }, Buffer.concat([head, typeof value === 'string' ? Buffer.from(value) : value]));
    return;
  }
  packedId = id;
  const isFirst = packedEnd === PACKED_START;
  packed.writeUInt32BE(size, packedEnd);
  packed[packedEnd + 4] = kind;
  if (typeof value === 'string') packed.write(value, packedEnd + CHUNK_HEAD, size, 'utf8');
  else packed.set(value, packedEnd + CHUNK_HEAD);
  packedEnd += needed;
  if (tick() - chunksWrittenAt >= 1) flushChunks();
  else if (isFirst) nextTurn(flushChunks);
}

function flushChunks() {
  const size = packedEnd - PACKED_START;
  if (size === 0) return;
  const meta = `{"id":${packedId}}`;
  const start = PACKED_START - HEAD_BYTES - meta.length;
  packed.writeUInt32BE(HEAD_BYTES - 4 + meta.length + size, start);
  packed[start + 4] = CHUNK;
  packed.writeUInt32BE(meta.length, start + 5);
  packed.latin1Write(meta, start + HEAD_BYTES);
  const end = packedEnd;
  packedEnd = PACKED_START;
  writeAll(packed.subarray(start, end));
  chunksWrittenAt = tick();
}

/** What replaces process.stdout and process.stderr: synchronous, so that a line is always out before the result. */
function outputStream(stream, fd, levelOf) {
  const writable = new Writable({
    decodeStrings: true,
    write(chunk, _encoding, done) {
      for (let at = 0; at < chunk.length; at += MAX_LOG_BYTES) {
        send(LOG, { stream, level: levelOf() }, chunk.subarray(at, at + MAX_LOG_BYTES));
      }
      done();
    },
  });
  writable.fd = fd;
  // As of process.stdout: they cannot be closed.
  writable._destroy = (error, done) => done(error);
  return writable;
}

let consoleLevel = null;

function takeOverOutput() {
  const streams = {
    stdout: outputStream('stdout', 1, () => consoleLevel ?? 'info'),
    stderr: outputStream('stderr', 2, () => consoleLevel ?? 'error'),
  };
  for (const [name, value] of Object.entries(streams)) {
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => value });
  }
  for (const [method, level] of [
    ['debug', 'debug'],
    ['warn', 'warn'],
    ['trace', 'debug'],
  ]) {
    const original = console[method];
    console[method] = function (...values) {
      consoleLevel = level;
      try {
        return original.apply(this, values);
      } finally {
        consoleLevel = null;
      }
    };
  }
}

// ---- Errors

const cut = (text, limit) => (text.length > limit ? `${text.slice(0, limit)}… [cut]` : text);

function textOf(value) {
  try {
    return typeof value === 'string'
      ? value
      : value instanceof Error
        ? value.message
        : (stringify(value) ?? String(value));
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** Who called the function is not its business, and no help to whoever reads its stack. */
function withoutOurs(stack) {
  const lines = stack.split('\n');
  const ours = lines.findIndex((line) => line.includes(import.meta.url));
  return ours < 0 ? stack : lines.slice(0, ours).join('\n');
}

/** Anything thrown as the fields of an ERROR frame. */
function describe(thrown, code = 'FUNCTION_FAILED') {
  const isError = thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]';
  let type = isError ? 'Error' : typeof thrown;
  let message = '';
  let stack = '';
  try {
    if (isError) type = String(thrown.name || thrown.constructor?.name || 'Error');
    message = isError ? String(thrown.message) : textOf(thrown);
    if (isError) stack = withoutOurs(String(thrown.stack ?? ''));
  } catch {
    message = 'the thrown value could not be read';
  }
  const outOfMemory = type === 'RangeError' && /allocation failed|failed to allocate/i.test(message);
  return {
    code: outOfMemory ? 'OUT_OF_MEMORY' : code,
    type: cut(type, 256),
    message: cut(message, MAX_MESSAGE),
    stack: cut(stack, MAX_STACK),
  };
}

class CallFailure {
  constructor(code, type, message) {
    this.message = message;
    this.fields = { code, type, message, stack: '' };
  }
}

// ---- Load

let handler = null;
/** The object whose `fetch` is the function; null where the handler is. */
let fetcher = null;
let limits = { outputBytes: 0 };

function failLoad(fields) {
  send(ERROR, { id: 0, ...fields });
  exit(1);
}

async function load(meta) {
  limits = meta.limits;
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, meta.env);
  takeOverOutput();
  process.chdir(meta.codeDirectory);
  const [file, exportName = 'default'] = meta.entry.split('#');
  const entry = path.join(meta.codeDirectory, file);
  if (!fs.existsSync(entry)) {
    const there = fs.readdirSync(meta.codeDirectory).slice(0, 20).join(', ');
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Entry',
      message: `The code has no file ${file}; it has: ${there}`,
    });
  }
  process.argv = [process.execPath, entry];
  process.on('uncaughtException', onUncaught);
  process.on('SIGTERM', onTerminate);
  if (meta.layers.length > 0) await lookInLayers(meta.layers);
  let module;
  try {
    module = await import(pathToFileURL(entry).href);
  } catch (error) {
    const fields = describe(error, 'INSTANCE_START_FAILED');
    send(ERROR, { id: 0, ...fields });
    // Node itself prints where a syntax error is, which the error does not say: let it.
    process.removeListener('uncaughtException', onUncaught);
    setImmediate(() => {
      throw error;
    });
    return;
  }
  fetcher = findFetcher(module, exportName);
  handler = fetcher === null ? findHandler(module, exportName) : null;
  // The first look at it costs more than all later ones: here nobody waits for an answer yet.
  if (fetcher !== null) new Request('http://localhost/');
  else if (handler === null) {
    const names = new Set(Object.keys(module));
    if (typeof module.default === 'object' && module.default !== null)
      for (const n of Object.keys(module.default)) names.add(n);
    names.delete('module.exports');
    const listed = [...names].slice(0, 50).join(', ') || 'nothing';
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Entry',
      message: `${file} does not export a function as ${exportName}; it exports: ${listed}`,
    });
  }
  send(READY, { interpreter: `node ${process.versions.node}` });
}

/** Has packages looked for in the layers that are not found from where they are imported. */
async function lookInLayers(layers) {
  // At the top of a layer, and in `nodejs`, as archives for other platforms have them.
  const places = layers.flatMap((layer) => [layer, path.join(layer, 'nodejs')]);
  const having = places.filter((place) => fs.existsSync(path.join(place, 'node_modules')));
  if (having.length === 0) return;
  // Here and not above: without layers nobody waits for it.
  const { createRequire, isBuiltin, registerHooks } = await import('node:module');
  if (registerHooks === undefined) {
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Layers',
      message: `Packages from layers need Node 22.15 or newer, and this is ${process.versions.node}.`,
    });
  }
  const { resolve } = createRequire(import.meta.url);
  const parents = having.map((place) => pathToFileURL(path.join(place, 'package.json')).href);
  let isLooking = false;
  const lookFor = (specifier, context, nextResolve) => {
    // Of `require`, Node itself does not let a hook say from where to look.
    if (context.conditions.includes('require')) {
      const url = pathToFileURL(resolve(specifier, { paths: having })).href;
      return { url, shortCircuit: true };
    }
    return firstFound(parents, (parentURL) => nextResolve(specifier, { ...context, parentURL }));
  };
  registerHooks({
    resolve(specifier, context, nextResolve) {
      try {
        return nextResolve(specifier, context);
      } catch (error) {
        if (isLooking || !NOT_FOUND.has(error?.code) || !isPackage(specifier) || isBuiltin(specifier)) throw error;
        isLooking = true;
        try {
          return lookFor(specifier, context, nextResolve);
        } catch (other) {
          // One that is there and broken says what is wrong with it; else what the function asked for is missing.
          throw NOT_FOUND.has(other?.code) ? error : other;
        } finally {
          isLooking = false;
        }
      }
    },
  });
}

const NOT_FOUND = new Set(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND']);

/** Whether it is the name of a package, or of something in one: no path and no URL. */
const isPackage = (specifier) => !/^(?:[./#]|[a-z][a-z0-9+.-]*:)/i.test(specifier);

function firstFound(candidates, find) {
  let failure;
  for (const candidate of candidates) {
    try {
      return find(candidate);
    } catch (error) {
      if (!NOT_FOUND.has(error?.code)) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** The first module that is imported costs more than the next one: here is one, before there is code. */
async function prepare() {
  await import('./empty.mjs');
  send(PONG, {});
}

/** The export itself, or that of a CommonJS module, whose exports are its default. */
function findHandler(module, name) {
  for (const candidate of [module[name], module.default?.[name], module.default?.default?.[name]]) {
    if (typeof candidate === 'function') return candidate;
  }
  return null;
}

/** A module that is called as on Workers, Deno and Bun: it exports `fetch`, or as its default an object that has it. */
function findFetcher(module, name) {
  if (name === 'fetch') return typeof module.fetch === 'function' ? module : null;
  for (const candidate of [module[name], module.default?.[name], module.default?.default?.[name]]) {
    if (typeof candidate === 'function') return null;
    if (typeof candidate?.fetch === 'function') return candidate;
  }
  return name === 'default' && typeof module.fetch === 'function' ? module : null;
}

// ---- Call

/** The call that runs now: { id, controller, reason } */
let current = null;

function parseEvent(contentType, payload) {
  const [type, ...parameters] = contentType.toLowerCase().split(';');
  const kind = type.trim();
  const isText =
    kind.startsWith('text/') ||
    kind === 'application/x-www-form-urlencoded' ||
    kind === 'application/xml' ||
    kind.endsWith('+xml');
  if (isText) {
    const charset = parameters.map((p) => p.trim()).find((p) => p.startsWith('charset='));
    const label = charset?.slice('charset='.length).replaceAll('"', '') ?? 'utf-8';
    return label === 'utf-8' || label === 'utf8' ? payload.toString('utf8') : new TextDecoder(label).decode(payload);
  }
  if (payload.length === 0) return {};
  if (kind === 'application/json' || kind.endsWith('+json')) {
    if (!isUtf8(payload))
      throw new CallFailure('VALIDATION_FAILED', 'SyntaxError', 'The payload is not UTF-8, as JSON must be.');
    const text = payload.toString('utf8');
    try {
      return parse(text);
    } catch (error) {
      const where = /position \d+/.test(error.message) ? '' : ` at position ${text.length}`;
      throw new CallFailure(
        'VALIDATION_FAILED',
        'SyntaxError',
        `The payload is not valid JSON: ${error.message}${where}`,
      );
    }
  }
  // A buffer of its own: the function may look at its `.buffer`.
  return Buffer.from(payload.buffer.slice(payload.byteOffset, payload.byteOffset + payload.length));
}

function encodeResult(value) {
  if (typeof value === 'string') return ['text/plain; charset=utf-8', Buffer.from(value)];
  if (value instanceof Uint8Array) {
    return ['application/octet-stream', Buffer.from(value.buffer, value.byteOffset, value.byteLength)];
  }
  if (value instanceof ArrayBuffer) return ['application/octet-stream', Buffer.from(value)];
  return ['application/json', encodeJson(value, 'The result')];
}

const encodeJson = (value, what) => Buffer.from(jsonOf(value, what));

function jsonOf(value, what) {
  if (value === undefined || value === null) return 'null';
  const cannot = (why) => new CallFailure('FUNCTION_FAILED', 'TypeError', `${what} cannot be written as JSON: ${why}`);
  if (value instanceof Map || value instanceof Set) throw cannot(`a ${value.constructor.name} has no JSON form.`);
  let json;
  try {
    json = stringify(value);
  } catch (error) {
    throw cannot(textOf(error));
  }
  if (json === undefined) throw cannot(`a ${typeof value} has no JSON form.`);
  return json;
}

// ---- Streams

/** Of what can be iterated, only what is made for nothing else: an array or a Map is a value. */
function iteratorOf(value) {
  if (typeof value !== 'object' || value === null) return null;
  if (typeof value[Symbol.asyncIterator] === 'function') return value[Symbol.asyncIterator]();
  const isGenerator = typeof value[Symbol.iterator] === 'function' && typeof value.next === 'function';
  return isGenerator ? value[Symbol.iterator]() : null;
}

/** What is yielded, by its kind: a string is text, or JSON as text. */
function encodeChunk(value) {
  if (typeof value === 'string') return [TEXT_CHUNK, value];
  if (value instanceof Uint8Array) return [BYTES_CHUNK, Buffer.from(value.buffer, value.byteOffset, value.byteLength)];
  if (value instanceof ArrayBuffer) return [BYTES_CHUNK, Buffer.from(value)];
  return [JSON_CHUNK, jsonOf(value, 'What was yielded')];
}

/**
 * Passes on what is yielded as it comes, as fast as it is taken. Returns what the function returns in the end.
 * @param begin is told once, before the first chunk goes, of what kind it is
 */
async function stream(call, iterator, begin = null) {
  call.iterator = iterator;
  let tell = begin;
  for (;;) {
    const { done, value } = await iterator.next();
    const yielded = isPromise(value) ? await value : value;
    if (done) return yielded;
    if (current !== call) return undefined;
    if (call.reason !== null || call.onTheWay >= CHUNK_WINDOW) await room(call);
    const [kind, chunk] = encodeChunk(yielded);
    if (tell !== null) {
      tell(kind);
      tell = null;
    }
    const size = typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length;
    if (size <= CHUNK_PIECE) {
      call.onTheWay += CHUNK_HEAD + size;
      sendChunk(call.id, kind, chunk, size);
    } else await sendInPieces(call, kind, chunk, size);
  }
}

const isPromise = (value) => typeof value === 'object' && value !== null && typeof value.then === 'function';

async function sendInPieces(call, kind, chunk, size) {
  if (kind === JSON_CHUNK && size > MAX_CHUNK) {
    const message = `What was yielded has ${size} bytes as JSON, and may have ${MAX_CHUNK}; text and bytes may be longer.`;
    throw new CallFailure('OUTPUT_TOO_LARGE', 'Output', message);
  }
  const body = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
  for (let at = 0, end = 0; at < size; at = end) {
    end = kind === JSON_CHUNK ? size : pieceEnd(kind, body, at);
    if (call.onTheWay >= CHUNK_WINDOW) await room(call);
    call.onTheWay += CHUNK_HEAD + end - at;
    sendChunk(call.id, kind, body.subarray(at, end), end - at);
  }
}

function pieceEnd(kind, body, at) {
  let end = Math.min(body.length, at + CHUNK_PIECE);
  // Not in the middle of a character.
  if (kind === TEXT_CHUNK && end < body.length) while ((body[end] & 0xc0) === 0x80) end--;
  return end;
}

/** Resolves when more may be sent; rejects when the call is stopped. */
async function room(call) {
  while (call.onTheWay >= CHUNK_WINDOW && call.reason === null) {
    flushChunks();
    await new Promise((resolve) => {
      call.onCredit = resolve;
    });
  }
  if (call.reason !== null) {
    await call.iterator?.return?.();
    throw call.reason;
  }
}

function onCredit({ id, bytes }) {
  if (current?.id !== id) return;
  current.onTheWay -= bytes;
  wake(current);
}

function wake(call) {
  const { onCredit } = call;
  call.onCredit = null;
  onCredit?.();
}

/** The whole of what is yielded, for a caller who wants it at once: text, bytes, or a JSON array. */
async function gather(call, iterator) {
  const parts = await collect(call, iterator);
  const bodies = parts.map(([, body]) => body);
  const all = (kind) => parts.length > 0 && parts.every((part) => part[0] === kind);
  if (all(TEXT_CHUNK)) return ['text/plain; charset=utf-8', Buffer.concat(bodies)];
  if (all(BYTES_CHUNK)) return ['application/octet-stream', Buffer.concat(bodies)];
  return ['application/json', Buffer.from(`[${parts.map(asJson).join(',')}]`)];
}

/** The same as it would be streamed: one after the other, JSON as lines. */
async function gatherBody(call, iterator) {
  const parts = await collect(call, iterator);
  const bodies = parts.map(([kind, body]) => (kind === JSON_CHUNK ? Buffer.concat([body, LINE_FEED]) : body));
  return [TYPES_OF_STREAMS[parts[0]?.[0] ?? BYTES_CHUNK], Buffer.concat(bodies)];
}

const LINE_FEED = Buffer.from('\n');

/** What is yielded, each with its kind. */
async function collect(call, iterator) {
  call.iterator = iterator;
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) break;
    const [kind, chunk] = encodeChunk(await value);
    const part = [kind, typeof chunk === 'string' ? Buffer.from(chunk) : chunk];
    size += part[1].length + 1;
    if (size > limits.outputBytes + parts.length + 1) {
      await iterator.return?.();
      throw new CallFailure(
        'OUTPUT_TOO_LARGE',
        'Output',
        `What was yielded has more than ${limits.outputBytes} bytes.`,
      );
    }
    parts.push(part);
  }
  return parts;
}

function asJson([kind, body]) {
  if (kind === JSON_CHUNK) return body.toString('utf8');
  if (kind === TEXT_CHUNK) return stringify(body.toString('utf8'));
  return stringify({ base64: body.toString('base64') });
}

/** Aborted when the call is ended from outside. */
function signalOf(call) {
  if (call.controller === null) {
    call.controller = new AbortController();
    if (call.reason !== null) call.controller.abort(call.reason);
  }
  return call.controller.signal;
}

/** A function that has asked for the signal of its request has the grace to clean up. */
function hearWhenAsked(request, call) {
  const { signal } = request;
  Object.defineProperty(request, 'signal', {
    configurable: true,
    enumerable: true,
    get() {
      call.isHeard = true;
      return signal;
    },
  });
}

function contextOf(call, meta) {
  return {
    taskId: meta.taskId,
    artifactId: meta.artifactId,
    version: meta.version,
    namespace: meta.namespace,
    attempt: meta.attempt,
    deadline: meta.deadlineMs,
    headers: meta.headers,
    traceparent: meta.traceparent,
    get signal() {
      call.isHeard = true;
      return signalOf(call);
    },
    remainingMs: () => Math.max(0, meta.deadlineMs - now()),
    log(level, message, fields) {
      const text = cut(textOf(message), MAX_LOG_BYTES / 4);
      try {
        const frame = { id: call.id, level, text, fields };
        if (fields !== undefined && stringify(fields).length > MAX_LOG_BYTES / 2) frame.fields = { cut: 'too large' };
        send(LOG, frame);
      } catch {
        send(LOG, { id: call.id, level: String(level), text, fields: { cut: 'not JSON' } });
      }
    },
    progress(value) {
      const json = encodeJson(value, 'Progress');
      if (json.length > MAX_PROGRESS) throw new RangeError(`Progress may have ${MAX_PROGRESS} bytes as JSON.`);
      send(PROGRESS, { id: call.id }, json);
    },
  };
}

function callHandler(call, meta, payload) {
  const event = meta.http === undefined ? parseEvent(meta.contentType, payload) : requestEvent(meta, payload);
  return handler(event, contextOf(call, meta));
}

/** What becomes of what a function has returned to an invoke. */
async function ofInvoke(call, meta, value) {
  const iterator = iteratorOf(value);
  if (iterator === null) return resultOf(encodeResult(value));
  if (meta.stream !== true) return resultOf(await gather(call, iterator));
  return { ...resultOf(encodeResult(await stream(call, iterator))), streamed: true };
}

const resultOf = ([contentType, body]) => ({ contentType, body });

// ---- Web endpoints

/** A request as the event of a handler. */
function requestEvent({ http: { method, url }, headers }, payload) {
  const mark = url.indexOf('?');
  const isEncoded = (headers['content-encoding'] ?? 'identity') !== 'identity';
  const contentType = isEncoded ? 'application/octet-stream' : (headers['content-type'] ?? 'application/octet-stream');
  return {
    method,
    path: mark < 0 ? url : url.slice(0, mark),
    query: queryOf(mark < 0 ? '' : url.slice(mark + 1)),
    headers,
    body: payload.length === 0 ? null : parseEvent(contentType, payload),
  };
}

/** Names with their values: one as text, several as a list. Without a prototype, so that any name is just a name. */
function queryOf(text) {
  const query = Object.create(null);
  if (text === '') return query;
  for (const [name, value] of new Parameters(text)) {
    const known = query[name];
    if (known === undefined) query[name] = value;
    else if (Array.isArray(known)) known.push(value);
    else query[name] = [known, value];
  }
  return query;
}

/** Calls a `fetch`: an invoke is a POST of its payload to /. */
async function callFetch(call, meta, payload) {
  const { method, url } = meta.http ?? { method: 'POST', url: '/' };
  const { host = 'localhost', 'x-forwarded-proto': scheme } = meta.headers;
  const base = `${scheme === 'https' ? 'https' : 'http'}://`;
  const origin = URL.canParse(`${base}${host}`) ? `${base}${host}` : `${base}localhost`;
  const headers = meta.http === undefined ? { ...meta.headers, 'content-type': meta.contentType } : meta.headers;
  const hasBody = payload.length > 0 && method !== 'GET' && method !== 'HEAD';
  // A buffer of its own: the function may transfer it.
  const body = hasBody ? Buffer.from(payload) : undefined;
  const background = [];
  const context = contextOf(call, meta);
  const request = new Request(origin + url, { method, headers, body, signal: signalOf(call) });
  hearWhenAsked(request, call);
  // As on Workers: the answer goes, and the call is over when these are.
  context.waitUntil = (promise) => {
    background.push(promise);
  };
  context.passThroughOnException = () => {};
  call.background = background;
  const response = await fetcher.fetch(request, process.env, context);
  if (!isResponse(response)) {
    throw new CallFailure('FUNCTION_FAILED', 'TypeError', `fetch returned ${textOf(response)}, and not a Response.`);
  }
  return response;
}

/** Of this realm or of a library's own. */
function isResponse(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof value.arrayBuffer === 'function' &&
    typeof value.status === 'number' &&
    typeof value.headers?.forEach === 'function'
  );
}

const cannotAnswer = (why) => new CallFailure('FUNCTION_FAILED', 'TypeError', `This is no answer: ${why}.`);

/** What a function has returned as an answer: a Response, `{statusCode, headers, body}`, or the body alone. */
function readAnswer(value) {
  if (isResponse(value)) {
    // The size is that of what comes, whatever it says.
    return { head: headOf(value.status, [...value.headers]), value: value.body, hasType: true };
  }
  if (typeof value !== 'object' || value === null || !('statusCode' in value)) {
    return { head: headOf(200, []), value: value ?? null, hasType: false };
  }
  const pairs = pairsOf(value);
  const head = headOf(value.statusCode, pairs);
  const body = value.isBase64Encoded === true ? fromBase64(value.body) : value.body;
  return { head, value: body ?? undefined, hasType: head.headers.some(([name]) => name === 'content-type') };
}

/** Headers of `{statusCode, headers, multiValueHeaders, cookies}`: what Lambda's proxies take, a list as several of one name. */
function pairsOf({ headers, multiValueHeaders, cookies }) {
  const several = fieldsOf('multiValueHeaders', multiValueHeaders);
  const names = new Set(several.map(([name]) => name.toLowerCase()));
  const pairs = [];
  for (const [name, given] of [
    ...fieldsOf('headers', headers).filter(([name]) => !names.has(name.toLowerCase())),
    ...several,
  ]) {
    for (const each of Array.isArray(given) ? given : [given]) if (each !== undefined) pairs.push([name, String(each)]);
  }
  if (cookies === undefined || cookies === null) return pairs;
  if (!Array.isArray(cookies)) throw cannotAnswer('cookies is a list of text, each what a Set-Cookie says');
  return [...pairs, ...cookies.map((cookie) => ['set-cookie', String(cookie)])];
}

function fieldsOf(field, value) {
  if (value === undefined || value === null) return [];
  if (typeof value !== 'object' || Array.isArray(value))
    throw cannotAnswer(`${field} is an object of names and values`);
  return Object.entries(value);
}

function fromBase64(body) {
  if (body === undefined || body === null) return body;
  if (typeof body !== 'string') throw cannotAnswer('isBase64Encoded is true, and body is no text');
  return Buffer.from(body, 'base64');
}

function headOf(status, pairs) {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw cannotAnswer(`a status is a whole number from 200 to 599, and not ${textOf(status)}`);
  }
  const headers = [];
  let bytes = 0;
  for (const [given, value] of pairs) {
    const name = given.toLowerCase();
    if (!TOKEN.test(name)) throw cannotAnswer(`${stringify(cut(given, 100))} is no name of a header`);
    if (!HEADER_VALUE.test(value)) throw cannotAnswer(`the header ${name} has characters that no header may have`);
    if (name === 'content-length') continue;
    bytes += name.length + value.length;
    headers.push([name, value]);
  }
  if (headers.length > MAX_HEADERS || bytes > MAX_HEADER_BYTES) {
    throw cannotAnswer(`it may have ${MAX_HEADERS} headers with ${MAX_HEADER_BYTES} bytes`);
  }
  return { status, headers };
}

/** What the content type of a body is where nobody says it, by the kind of its chunks. */
const TYPES_OF_STREAMS = {
  [JSON_CHUNK]: 'application/x-ndjson',
  [TEXT_CHUNK]: 'text/plain; charset=utf-8',
  [BYTES_CHUNK]: 'application/octet-stream',
};

/** What becomes of an answer: with its head where the function was called as a web endpoint, else as a result. */
async function ofAnswer(call, meta, { head, value, hasType }) {
  if (meta.http === undefined) return await ofResponse(call, meta, head, value);
  const withType = (type) => (hasType ? head : { ...head, headers: [...head.headers, ['content-type', type]] });
  const iterator = iteratorOf(value);
  let result;
  if (iterator !== null && meta.stream === true) {
    let hasBegun = hasType;
    const begin = (kind) => {
      hasBegun = true;
      send(HEAD, { id: call.id, head: withType(TYPES_OF_STREAMS[kind]) });
    };
    if (hasType) send(HEAD, { id: call.id, head });
    await stream(call, iterator, hasType ? null : begin);
    if (!hasBegun) send(HEAD, { id: call.id, head });
    result = { contentType: 'application/json', body: Buffer.from('null'), streamed: true };
  } else if (value === undefined || (value === null && hasType)) {
    result = { contentType: 'application/octet-stream', body: NOTHING, head };
  } else {
    const [type, body] = iterator === null ? encodeResult(value) : await gatherBody(call, iterator);
    result = { contentType: typeIn(head) ?? type, body, head: withType(type) };
  }
  await Promise.allSettled(call.background ?? []);
  return result;
}

const typeIn = ({ headers }) => headers.find(([name]) => name === 'content-type')?.[1];

/** A Response that answers an invoke: its body is the result, unless its status says that it failed. */
async function ofResponse(call, meta, head, value) {
  const contentType = typeIn(head) ?? 'application/octet-stream';
  const isText = /^text\/|[/+](?:json|xml)\b/.test(contentType.toLowerCase());
  const iterator = iteratorOf(value);
  const isOk = head.status < 300;
  if (iterator !== null && meta.stream === true && isOk) {
    await stream(call, isText ? decoded(iterator) : iterator);
    await Promise.allSettled(call.background ?? []);
    return { contentType: 'application/json', body: Buffer.from('null'), streamed: true };
  }
  const [, body] = iterator === null ? ['', NOTHING] : await gatherBody(call, iterator);
  await Promise.allSettled(call.background ?? []);
  if (isOk) return { contentType, body };
  const failure = new CallFailure('FUNCTION_FAILED', 'Status', `The function answered with status ${head.status}.`);
  failure.fields.status = head.status;
  failure.fields.body = body.toString('utf8', 0, MAX_EXCERPT);
  throw failure;
}

/** Bytes of text, which may be cut in the middle of a character, as text. */
async function* decoded(iterator) {
  const decoder = new TextDecoder();
  for await (const bytes of { [Symbol.asyncIterator]: () => iterator }) {
    const text = decoder.decode(bytes, { stream: true });
    if (text !== '') yield text;
  }
  const rest = decoder.decode();
  if (rest !== '') yield rest;
}

async function run(meta, payload) {
  const call = {
    id: meta.id,
    controller: null,
    isHeard: false,
    reason: null,
    iterator: null,
    onTheWay: 0,
    onCredit: null,
  };
  current = call;
  try {
    const value = await (fetcher === null ? callHandler(call, meta, payload) : callFetch(call, meta, payload));
    const result =
      meta.http === undefined && !isResponse(value)
        ? await ofInvoke(call, meta, value)
        : await ofAnswer(call, meta, readAnswer(value));
    if (current !== call) return;
    const { body, ...about } = result;
    if (body.length > limits.outputBytes) {
      throw new CallFailure('OUTPUT_TOO_LARGE', 'Output', `The result has ${body.length} bytes.`);
    }
    send(RESULT, { id: call.id, ...about }, body);
  } catch (thrown) {
    if (current !== call) return;
    send(ERROR, { id: call.id, ...(thrown instanceof CallFailure ? thrown.fields : describe(thrown)) });
  }
  current = null;
  if (terminating) dieOfTerm();
}

// ---- Ends

/** An error that nothing caught leaves the module in an unknown state: the task fails and the instance goes. */
function onUncaught(error) {
  if (process.listenerCount('uncaughtException') > 1) return;
  if (current !== null) {
    send(ERROR, { id: current.id, ...describe(error), fatal: true });
    current = null;
  } else process.stderr.write(`uncaught: ${error?.stack ?? textOf(error)}\n`);
  exit(1);
}

let terminating = false;

/** Has a generator end where it stands. */
async function leave(call) {
  try {
    await call.iterator?.return?.();
  } catch {
    // It is on its way out.
  }
  if (current === call) {
    current = null;
    dieOfTerm();
  }
}

function dieOfTerm() {
  process.removeListener('SIGTERM', onTerminate);
  process.kill(process.pid, 'SIGTERM');
}

/** The call is ended from outside; SIGTERM follows. */
function onAbort({ id, name, message }) {
  if (current?.id === id) abort(current, name, message);
}

function abort(call, name, message) {
  if (call.reason !== null) return;
  call.reason = new Error(message);
  call.reason.name = name;
  call.controller?.abort(call.reason);
  wake(call);
}

/** Whoever asked for `context.signal` is told, and has the grace to finish; anyone else need not be waited for. */
function onTerminate() {
  const usersOwn = process.listenerCount('SIGTERM') > 1;
  // Of a generator the `finally` blocks are to run.
  if (current !== null && (current.controller !== null || current.iterator !== null)) {
    terminating = true;
    const call = current;
    // The frame that says why was sent before the signal: where there is one, it is read in this turn of the loop.
    setImmediate(() => {
      abort(call, 'AbortError', 'The task was stopped.');
      if (!call.isHeard) leave(call);
    });
  } else if (!usersOwn) dieOfTerm();
}

// ---- In

let frame = null;
let filled = 0;
const lengthBytes = Buffer.alloc(4);
let lengthFilled = 0;

function onFrame(bytes) {
  const metaEnd = 5 + bytes.readUInt32BE(1);
  const meta = parse(bytes.toString('utf8', 5, metaEnd));
  const type = bytes.readUInt8(0);
  if (type === CALL) run(meta, bytes.subarray(metaEnd));
  else if (type === CREDIT) onCredit(meta);
  else if (type === ABORT) onAbort(meta);
  else if (type === LOAD) load(meta);
  else if (type === PING) send(PONG, {});
  else if (type === PREPARE) prepare();
}

const whereItIs =
  process.env.PILUM_CHANNEL === undefined
    ? { fd: channel, readable: true, writable: true }
    : { path: process.env.PILUM_CHANNEL };
const options = {
  ...whereItIs,
  onread: {
    buffer: Buffer.alloc(64 * 1024),
    callback(size, buffer) {
      let at = 0;
      while (at < size) {
        if (frame === null) {
          const step = Math.min(4 - lengthFilled, size - at);
          buffer.copy(lengthBytes, lengthFilled, at, at + step);
          lengthFilled += step;
          at += step;
          if (lengthFilled < 4) break;
          frame = Buffer.allocUnsafeSlow(lengthBytes.readUInt32BE(0));
          filled = 0;
          lengthFilled = 0;
        } else {
          const step = Math.min(frame.length - filled, size - at);
          buffer.copy(frame, filled, at, at + step);
          filled += step;
          at += step;
          if (filled < frame.length) break;
          const complete = frame;
          frame = null;
          onFrame(complete);
        }
      }
      return true;
    },
  },
};
const socket = options.path === undefined ? new net.Socket(options) : net.connect(options);
// Nothing is sent before the worker has said something. (There is no public way to the descriptor of a connection.)
socket.once('connect', () => {
  channel = socket._handle.fd;
});
// The worker is gone, and so is the reason to be here.
socket.on('end', () => exit(0));
socket.on('error', () => exit(1));
