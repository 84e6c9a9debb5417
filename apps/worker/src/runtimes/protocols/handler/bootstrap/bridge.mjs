// Runs beside a server, inside its sandbox: from a socket that the worker reaches, to a port of the sandbox's own loopback, which
// nobody else does. Fd 6 listens already; fd 3 asks whether the server does. In a container nothing is inherited, and both are paths.
import net from 'node:net';

const CHANNEL = 3;
const LISTENER = 6;
const port = Number(process.argv[2]);
const [listenerPath, channelPath] = process.argv.slice(3);
const YES = Buffer.from('y');
const NO = Buffer.from('n');

const connect = () => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });

const channel =
  channelPath === undefined
    ? new net.Socket({ fd: CHANNEL, readable: true, writable: true })
    : net.connect(channelPath);
channel.on('data', (asked) => {
  for (let i = 0; i < asked.length; i++) look();
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

net
  .createServer({ allowHalfOpen: true }, (from) => {
    const to = connect();
    from.pipe(to);
    to.pipe(from);
    // An end goes on as an end, and a failure as one.
    from.on('error', () => to.destroy());
    to.on('error', () => from.destroy());
    from.on('close', () => to.destroy());
  })
  .listen(listenerPath === undefined ? { fd: LISTENER } : { path: listenerPath, readableAll: true, writableAll: true });
