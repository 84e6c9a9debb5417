import { connect } from 'node:net';

/** Longest time that a Redis may take for an answer, ms. */
const PATIENCE_MS = 1000;

/**
 * Whether what listens there answers as a Redis does that speaks no TLS. To one that is greeted in TLS it says nothing at all: it waits for
 * the end of a line.
 */
export async function speaksPlain(host: string, port: number): Promise<boolean> {
  return await new Promise((done) => {
    const socket = connect({ host, port });
    const end = (answer: boolean) => {
      socket.destroy();
      done(answer);
    };
    socket.setTimeout(PATIENCE_MS, () => end(false));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
    // PONG, or that a password is wanted.
    socket.once('data', (data) => end(/^(\+PONG|-[A-Z]+ )/.test(data.toString('latin1'))));
    socket.write('PING\r\n');
  });
}
