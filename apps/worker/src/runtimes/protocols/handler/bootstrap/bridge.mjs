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
const LIST = 'l';
const HANDED_ON = 'h';
/** The bytes of the id with which each connection begins, and the digits by which it is asked after. */
const ID_BYTES = 8;
const ID_DIGITS = 2 * ID_BYTES;
/** The most connections that are remembered. */
const MOST_REMEMBERED = 4096;
/** The most bytes that are in one piece for the server's kernel as well: it has all of them, or nothing. */
const MOST_AT_ONCE = 16 * 1024;
/** The answer for one that is not: whatever was sent over it may have been read. */
const UNKNOWN = Number.MAX_SAFE_INTEGER;
/** The most ports that are told, and the most bytes of the files in which they stand. */
const MOST_PORTS = 32;
const MOST_BYTES = 256 * 1024;

const connect = () => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });

const channel =
  channelPath === undefined
    ? new net.Socket({ fd: CHANNEL, readable: true, writable: true })
    : net.connect(channelPath);
/** The connections by their ids, the oldest first, each with the number of bytes that the server was given of it. */
const connections = new Map();
let asked = '';
channel.on('data', (bytes) => {
  asked += bytes.toString('latin1');
  while (asked !== '') {
    const size = asked[0] === HANDED_ON ? 1 + ID_DIGITS : 1;
    if (asked.length < size) return;
    const what = asked.slice(0, size);
    asked = asked.slice(size);
    if (what[0] === HANDED_ON) channel.write(`${what}:${connections.get(what.slice(1))?.handedOn ?? UNKNOWN}\n`);
    else if (what === LIST) list();
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

/**
 * Tells whether a server has closed a connection on which it was to say nothing, which the kernel may know before the event loop does.
 * Whatever it has said goes on to the caller.
 */
function hasClosed(to, from) {
  const fd = to._handle?.fd;
  if (!(fd >= 0)) return true;
  // What came before it is still to go on: this is not the moment.
  if (to.readableLength > 0) return false;
  const piece = Buffer.allocUnsafe(PIECE);
  try {
    const size = fs.readSync(fd, piece);
    if (size > 0) from.write(piece.subarray(0, size));
    return size === 0;
  } catch (error) {
    return error.code !== 'EAGAIN';
  }
}

/**
 * Tells whether a server that has closed a connection had done so before what it was given last came to it: then the kernel has said
 * that nobody reads it, and takes nothing more.
 */
function hadClosed(to) {
  try {
    fs.writeSync(to._handle.fd, NO);
    return false;
  } catch (error) {
    return error.code === 'EPIPE';
  }
}

/**
 * Hands on to a server what a connection brings behind its id, and counts it. What comes after the server has closed its side is for
 * nobody: it is read, and not counted, so that whoever sent it can send it to another connection.
 */
function handOn(from, to) {
  let connection = null;
  let head = Buffer.alloc(0);
  let isOver = false;
  /** The server has answered since it was last given anything. */
  let isQuiet = false;
  /** The bytes that it was given since then, in one piece; 0 where there were several. */
  let inOnePiece = 0;
  to.on('data', () => {
    isQuiet = true;
  });
  const onOver = () => {
    isOver = true;
    from.resume();
  };
  to.on('end', () => {
    if (!isOver && !isQuiet && inOnePiece > 0 && inOnePiece <= MOST_AT_ONCE && hadClosed(to))
      connection.handedOn -= inOnePiece;
    onOver();
  });
  to.on('error', onOver);
  from.on('data', (bytes) => {
    if (connection === null) {
      head = Buffer.concat([head, bytes]);
      if (head.length < ID_BYTES) return;
      connection = remember(head.toString('hex', 0, ID_BYTES));
      bytes = head.subarray(ID_BYTES);
      if (bytes.length === 0) return;
    }
    if (!isOver && isQuiet && hasClosed(to, from)) isOver = true;
    if (isOver) return;
    inOnePiece = isQuiet ? bytes.length : 0;
    isQuiet = false;
    connection.handedOn += bytes.length;
    if (to.write(bytes)) return;
    from.pause();
    to.once('drain', () => from.resume());
  });
  from.on('end', () => to.end());
}

function remember(id) {
  const connection = { handedOn: 0 };
  connections.set(id, connection);
  const [oldest] = connections.keys();
  if (connections.size > MOST_REMEMBERED) connections.delete(oldest);
  return connection;
}

net
  .createServer({ allowHalfOpen: true }, (from) => {
    const to = connect();
    const destroy = to._destroy;
    to._destroy = (error, done) => {
      if (error) for (const piece of lastWords(to)) from.write(piece);
      destroy.call(to, error, done);
    };
    handOn(from, to);
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
