// Runs beside a server, inside its sandbox: from a socket that the worker reaches, to a port of the sandbox's own loopback,
// which nobody else does. Fd 6 listens already; fd 3 asks whether the server does. In a container nothing is inherited, and
// both are paths.
import fs from 'node:fs';
import net from 'node:net';

const CHANNEL = 3;
const LISTENER = 6;
const port = Number(process.argv[2]);
const [listenerPath, channelPath] = process.argv.slice(3);
const YES = Buffer.from('y');
const NO = Buffer.from('n');
const LIST = 'l'.charCodeAt(0);
/** The most ports that are told, and the most bytes of the files in which they stand. */
const MOST_PORTS = 32;
const MOST_BYTES = 256 * 1024;

const connect = () => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });

const channel =
  channelPath === undefined
    ? new net.Socket({ fd: CHANNEL, readable: true, writable: true })
    : net.connect(channelPath);
channel.on('data', (asked) => {
  for (const what of asked) {
    if (what === LIST) list();
    else look();
  }
});
// The worker is gone, and so is the reason to be here.
channel.on('end', () => process.exit(0));
channel.on('error', () => process.exit(1));

function look() {
  const socket = connect();
  socket.once('connect', () => {
    channel.write(YES);
    socket.destroy();
  });
  socket.once('error', () => channel.write(NO));
}

/** Says on which ports something takes connections here, for a server that was looked for on the wrong one. */
function list() {
  const ports = new Set();
  for (const path of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    let text = '';
    try {
      text = fs.readFileSync(path, 'latin1').slice(0, MOST_BYTES);
    } catch {
      // There is no such family.
    }
    for (const [, hex] of text.matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /gm))
      ports.add(Number.parseInt(hex, 16));
  }
  channel.write(`${[...ports].slice(0, MOST_PORTS).join(',')}\n`);
}

/** Largest piece of what a server has left unread, bytes. */
const PIECE = 64 * 1024;

/**
 * Returns what a server has said before it closed its end. One that answers without having read all of the request, with a
 * 413 for example, resets the connection, and writing fails before its answer was read, which the kernel still has.
 */
function lastWords(socket) {
  const pieces = [];
  for (let piece = socket.read(); piece !== null; piece = socket.read()) pieces.push(piece);
  const fd = socket._handle?.fd;
  if (!(fd >= 0)) return pieces;
  for (;;) {
    const piece = Buffer.allocUnsafe(PIECE);
    let size = 0;
    try {
      size = fs.readSync(fd, piece);
    } catch {
      // Nothing more.
    }
    if (size === 0) return pieces;
    pieces.push(piece.subarray(0, size));
  }
}

net
  .createServer({ allowHalfOpen: true }, (from) => {
    const to = connect();
    const destroy = to._destroy;
    to._destroy = (error, done) => {
      if (error) for (const piece of lastWords(to)) from.write(piece);
      destroy.call(to, error, done);
    };
    from.pipe(to);
    to.pipe(from);
    // An end goes on as an end, and a failure as one: after what came before it. Bytes that are still sent are for nobody, and
    // are taken all the same until the caller ends: a write of it that failed would lose it an answer that it has not read.
    from.on('error', () => to.destroy());
    to.on('error', () => {
      from.resume();
      from.end();
    });
    from.on('close', () => to.destroy());
  })
  .listen(listenerPath === undefined ? { fd: LISTENER } : { path: listenerPath, readableAll: true, writableAll: true });
