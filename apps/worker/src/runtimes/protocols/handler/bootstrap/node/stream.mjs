// The values that a function yields, as CHUNK frames and no faster than they are taken.

/** Returns the iterator of a value that is made for nothing else than iteration: an array or a Map is a value. */
function iteratorOf(value) {
  if (typeof value !== 'object' || value === null) return null;
  if (typeof value[Symbol.asyncIterator] === 'function') return value[Symbol.asyncIterator]();
  const isGenerator = typeof value[Symbol.iterator] === 'function' && typeof value.next === 'function';
  return isGenerator ? value[Symbol.iterator]() : null;
}

/** Encodes a yielded value by its kind: a string is text, or JSON as text. */
function encodeChunk(value) {
  if (typeof value === 'string') return [CHUNK_TEXT, value];
  if (value instanceof Uint8Array) return [CHUNK_BYTES, Buffer.from(value.buffer, value.byteOffset, value.byteLength)];
  if (value instanceof ArrayBuffer) return [CHUNK_BYTES, Buffer.from(value)];
  return [CHUNK_JSON, jsonOf(value, 'What was yielded')];
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
  if (kind === CHUNK_JSON && size > MAX_CHUNK) {
    const message = `What was yielded has ${size} bytes as JSON, and may have ${MAX_CHUNK}; text and bytes may be longer.`;
    throw new CallFailure('OUTPUT_TOO_LARGE', 'Output', message);
  }
  const body = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
  for (let at = 0, end = 0; at < size; at = end) {
    end = kind === CHUNK_JSON ? size : pieceEnd(kind, body, at);
    if (call.onTheWay >= CHUNK_WINDOW) await room(call);
    call.onTheWay += CHUNK_HEAD + end - at;
    sendChunk(call.id, kind, body.subarray(at, end), end - at);
  }
}

function pieceEnd(kind, body, at) {
  let end = Math.min(body.length, at + CHUNK_PIECE);
  // Not in the middle of a character.
  if (kind === CHUNK_TEXT && end < body.length) while ((body[end] & 0xc0) === 0x80) end--;
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
  if (all(CHUNK_TEXT)) return ['text/plain; charset=utf-8', Buffer.concat(bodies)];
  if (all(CHUNK_BYTES)) return ['application/octet-stream', Buffer.concat(bodies)];
  return ['application/json', Buffer.from(`[${parts.map(asJson).join(',')}]`)];
}

/** The same as it would be streamed: one after the other, JSON as lines. */
async function gatherBody(call, iterator) {
  const parts = await collect(call, iterator);
  const bodies = parts.map(([kind, body]) => (kind === CHUNK_JSON ? Buffer.concat([body, LINE_FEED]) : body));
  return [TYPES_OF_STREAMS[parts[0]?.[0] ?? CHUNK_BYTES], Buffer.concat(bodies)];
}

const LINE_FEED = Buffer.from('\n');

/** Collects the yielded values, each with its kind. */
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
  if (kind === CHUNK_JSON) return body.toString('utf8');
  if (kind === CHUNK_TEXT) return stringify(body.toString('utf8'));
  return stringify({ base64: body.toString('base64') });
}
