// Requests and answers of web endpoints.

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

/** Tells whether a value is a Response, of this realm or of a library's own. */
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

/** Reads the answer that a function has returned: a Response, `{statusCode, headers, body}`, or the body alone. */
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
