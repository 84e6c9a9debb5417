// Printed output, as LOG frames.

/** Makes a replacement of process.stdout or process.stderr: synchronous, so that a line is always out before the result. */
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
