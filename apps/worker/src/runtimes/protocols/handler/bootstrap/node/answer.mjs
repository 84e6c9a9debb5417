// The sending of an answer, and one call from its frame to its result.

/** The content types of a body whose author names none, by the kind of its chunks. */
const TYPES_OF_STREAMS = {
  [CHUNK_JSON]: 'application/x-ndjson',
  [CHUNK_TEXT]: 'text/plain; charset=utf-8',
  [CHUNK_BYTES]: 'application/octet-stream',
};

/** Sends an answer: with its head where the function was called as a web endpoint, else as a result. */
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

function run(meta, payload) {
  const { id, taskId } = meta;
  const call = {
    id,
    taskId,
    controller: null,
    isHeard: false,
    reason: null,
    iterator: null,
    onTheWay: 0,
    onCredit: null,
  };
  current = call;
  inContextOf(call, () => answer(call, meta, payload));
}

async function answer(call, meta, payload) {
  try {
    const value = await (fetcher === null ? callHandler(call, meta, payload) : callFetch(call, meta, payload));
    let result;
    if (meta.http === undefined && !isResponse(value)) {
      const iterator = iteratorOf(value);
      // The usual call: it waits for nothing here.
      result = iterator === null ? resultOf(encodeResult(value)) : await ofIterator(call, meta, iterator);
    } else result = await ofAnswer(call, meta, readAnswer(value));
    if (current !== call || uncaught !== null) return;
    const { body, ...about } = result;
    if (body.length > limits.outputBytes) {
      throw new CallFailure('OUTPUT_TOO_LARGE', 'Output', `The result has ${body.length} bytes.`);
    }
    about.id = call.id;
    if (isSpoilt) about.fatal = true;
    send(RESULT, about, body);
  } catch (thrown) {
    if (current !== call || uncaught !== null) return;
    send(ERROR, {
      id: call.id,
      ...endOfInstance(),
      ...(thrown instanceof CallFailure ? thrown.fields : describe(thrown)),
    });
  }
  current = null;
  if (isSpoilt) exit(1);
  if (terminating) dieOfTerm();
}

const endOfInstance = () => (isSpoilt ? { fatal: true } : {});
