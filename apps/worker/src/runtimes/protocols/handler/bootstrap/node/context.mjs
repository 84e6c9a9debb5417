// The context, and the call of a handler.

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
  const context = contextOf(call, meta);
  return takesCallback ? withCallback(event, context) : handler(event, context);
}

/** A handler that answers through a third parameter, as they did before there were promises; it may return one as well. */
function withCallback(event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, value) => {
      if (error === undefined || error === null) resolve(value);
      else reject(error instanceof Error ? error : new Error(textOf(error)));
    };
    const returned = handler(event, context, callback);
    if (returned !== undefined) resolve(returned);
  });
}

/** Sends what a function yields to an invoke. */
async function ofIterator(call, meta, iterator) {
  if (meta.stream !== true) return resultOf(await gather(call, iterator));
  return { ...resultOf(encodeResult(await stream(call, iterator))), streamed: true };
}

const resultOf = ([contentType, body]) => ({ contentType, body });
