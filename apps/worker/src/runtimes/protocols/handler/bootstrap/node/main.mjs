// Frames from the worker.

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
