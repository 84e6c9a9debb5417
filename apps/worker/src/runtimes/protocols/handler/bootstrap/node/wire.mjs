// Runs inside the sandbox: loads one handler and answers calls over fd 3. The frames are those of ../../frames.ts.
// The bootstrap sets no globals, and takes what it needs from the language before user code can change it.
// The files of this directory are one module: ../../bootstraps.ts joins them, this one first.
import { AsyncLocalStorage } from 'node:async_hooks';
import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The descriptor of the channel: inherited, or in a container that of the connection made below. */
let channel = 3;
// <generated>
// From frames.ts and wire-limits.ts, by `npm run docs`; change it there.
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
const CHUNK_JSON = 1;
const CHUNK_TEXT = 2;
const CHUNK_BYTES = 3;
const HEAD_BYTES = 9;
const MAX_MESSAGE = 8192;
const MAX_STACK = 16384;
const MAX_CAUSES = 16;
const MAX_CAUSE_MESSAGE = 2048;
const MAX_LOG_BYTES = 65536;
const MAX_PROGRESS = 16384;
const MAX_CHUNK = 1048576;
const CHUNK_PIECE = 262144;
const CHUNK_WINDOW = 262144;
const CHUNK_HEAD = 5;
const MAX_HEADERS = 256;
const MAX_HEADER_BYTES = 32768;
// </generated>
/** The size below which a copy is cheaper than a second system call, bytes. */
const ONE_WRITE_BYTES = 64 * 1024;
/** Chunks that follow each other within a millisecond share a write, up to so many bytes. */
const CHUNKS_PER_WRITE = 32 * 1024;

// The head of a web endpoint's answer. The worker looks at a head again, and ends whoever sends one that is none.
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** The part of an answer's body that is told where the answer is an invoke's failure, bytes. */
const MAX_EXCERPT = 2048;

const { writeSync } = fs;
const { parse, stringify } = JSON;
const exit = process.exit.bind(process);
const pause = new Int32Array(new SharedArrayBuffer(4));
const now = Date.now;
const tick = performance.now.bind(performance);
const nextTurn = setImmediate;
const Parameters = URLSearchParams;

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
