// The arguments with which a function is called.

/** The call that runs now: { id, controller, reason } */
let current = null;

/**
 * The call by which something was begun, where this Node tells it at no cost; else null, and it is taken for the one that runs.
 */
const contexts = Number(process.versions.node.split('.')[0]) >= 24 ? new AsyncLocalStorage() : null;
const callOfContext = () => contexts?.getStore() ?? null;
const inContextOf = (call, work) => (contexts === null ? work() : contexts.run(call, work));

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
