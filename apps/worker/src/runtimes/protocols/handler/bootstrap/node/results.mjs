// The value that a function has returned, as bytes.

function encodeResult(value) {
  if (typeof value === 'string') return ['text/plain; charset=utf-8', Buffer.from(value)];
  if (value instanceof Uint8Array) {
    return ['application/octet-stream', Buffer.from(value.buffer, value.byteOffset, value.byteLength)];
  }
  if (value instanceof ArrayBuffer) return ['application/octet-stream', Buffer.from(value)];
  return ['application/json', encodeJson(value, 'The result')];
}

const encodeJson = (value, what) => Buffer.from(jsonOf(value, what));

/**
 * The classes that JSON would make an empty object of, with what is lost then: a mistake in a result that JSON does not
 * report.
 */
const WITHOUT_JSON = [Map, Set, WeakMap, WeakSet, Promise, Error, RegExp, ArrayBuffer, DataView];
/** The same of the web, by their names: to look at one of these classes makes Node load it. */
const OF_THE_WEB = new Set([
  'Blob',
  'File',
  'FormData',
  'Headers',
  'Request',
  'Response',
  'URLSearchParams',
  'ReadableStream',
]);
/** The class of an object, by its own word. */
const tagOf = (value) => Object.prototype.toString.call(value).slice(8, -1);
const PATH_DEPTH = 64;

function jsonOf(value, what) {
  if (value === undefined || value === null) return 'null';
  let json;
  try {
    json = stringify(value);
  } catch (error) {
    throw noJson(value, what, textOf(error));
  }
  if (json === undefined) throw noJson(value, what, `a ${typeof value} has no JSON form.`);
  // They all come out as this: most values are not looked through.
  if (json.includes('{}') && findWithoutJson(value, '', [], false) !== null) throw noJson(value, what, '');
  return json;
}

function noJson(value, what, otherwise) {
  const found = findWithoutJson(value, '', [], true);
  const why =
    found === null
      ? otherwise
      : `${/^[AEIO]/.test(found.type) ? 'an' : 'a'} ${found.type} has no JSON form${found.path === '' ? '' : ` (at ${found.path.replace(/^\./, '')})`}.`;
  return new CallFailure('FUNCTION_FAILED', 'TypeError', `${what} cannot be written as JSON: ${why}`);
}

/**
 * The first thing in a value that JSON cannot hold, with its path. The value that `toJSON` makes of an object stands for
 * the object.
 */
function findWithoutJson(value, path, above, withBigInt) {
  if (typeof value === 'bigint')
    return withBigInt && BigInt.prototype.toJSON === undefined ? { type: 'BigInt', path } : null;
  if (typeof value !== 'object' || value === null) return null;
  if (typeof value.toJSON === 'function') {
    if (above.length > PATH_DEPTH) return null;
    return findWithoutJson(value.toJSON(), path, [...above, value], withBigInt);
  }
  const type = WITHOUT_JSON.find((known) => value instanceof known);
  if (type !== undefined) return { type: type.name, path };
  if (OF_THE_WEB.has(tagOf(value)) && !Object.hasOwn(value, Symbol.toStringTag)) return { type: tagOf(value), path };
  if (above.includes(value) || above.length > PATH_DEPTH || ArrayBuffer.isView(value)) return null;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner !== 'bigint' && (typeof inner !== 'object' || inner === null)) continue;
    const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
    const found = findWithoutJson(inner, at, [...above, value], withBigInt);
    if (found !== null) return found;
  }
  return null;
}
