// Anything thrown, as the fields of an ERROR frame.

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

/** Removes our own lines from a stack: the caller of the function is no help to whoever reads it. */
function withoutOurs(stack) {
  const lines = stack.split('\n');
  const ours = lines.findIndex((line) => line.includes(import.meta.url));
  return ours < 0 ? stack : lines.slice(0, ours).join('\n');
}

const isError = (value) => value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';

/** Reads what a thrown value says of itself. */
function readThrown(thrown) {
  const read = { type: isError(thrown) ? 'Error' : typeof thrown, message: '', stack: '' };
  try {
    if (isError(thrown)) {
      read.type = String(thrown.name || thrown.constructor?.name || 'Error');
      read.stack = withoutOurs(String(thrown.stack ?? ''));
    }
    read.message = isError(thrown) ? String(thrown.message) : textOf(thrown);
    if (isError(thrown) && (typeof thrown.code === 'string' || typeof thrown.code === 'number'))
      read.errorCode = thrown.code;
  } catch {
    read.message = 'the thrown value could not be read';
  }
  return read;
}

/** The errors behind an error, to the end of each chain: its cause, and those that it was made of. */
function causesOf(thrown) {
  const found = [];
  const seen = new Set([thrown]);
  let left = 0;
  const walk = (value) => {
    let inner = [];
    try {
      if (!isError(value)) return;
      if (Array.isArray(value.errors)) inner = value.errors.slice(0, 1000);
      if (value.cause !== undefined && value.cause !== null) inner = [value.cause, ...inner];
    } catch {
      return;
    }
    for (const each of inner) {
      if (seen.has(each) || seen.size > 1000) continue;
      seen.add(each);
      // The last one is where it began: that one is kept, and what is left out are those before it.
      if (found.length >= MAX_CAUSES) {
        found.pop();
        left += 1;
      }
      found.push(each);
      walk(each);
    }
  };
  walk(thrown);
  const causes = found.map((each) => {
    const { type, message, errorCode } = readThrown(each);
    const cause = { type: cut(type, 256), message: cut(message, MAX_CAUSE_MESSAGE) };
    return errorCode === undefined ? cause : { ...cause, code: String(errorCode).slice(0, 256) };
  });
  if (left > 0) causes.splice(-1, 0, { type: 'More', message: `${left} more are left out` });
  return { causes, stacks: found.map((each) => readThrown(each).stack) };
}

/** Anything thrown as the fields of an ERROR frame. */
function describe(thrown, code = 'FUNCTION_FAILED') {
  const { type, message, stack, errorCode } = readThrown(thrown);
  const outOfMemory = type === 'RangeError' && /allocation failed|failed to allocate/i.test(message);
  const { causes, stacks } = causesOf(thrown);
  const whole = [stack, ...stacks.filter((each) => each !== '').map((each) => `caused by: ${each}`)].join('\n');
  return {
    code: outOfMemory ? 'OUT_OF_MEMORY' : code,
    type: cut(type, 256),
    message: cut(message, MAX_MESSAGE),
    stack: cut(whole, MAX_STACK),
    ...(errorCode === undefined ? {} : { errorCode: String(errorCode).slice(0, 256) }),
    ...(causes.length === 0 ? {} : { causes }),
  };
}

class CallFailure {
  constructor(code, type, message) {
    this.message = message;
    this.fields = { code, type, message, stack: '' };
  }
}
