import { connect } from 'node:net';

/**
 * Asks the Redis behind a Unix socket whether it can be used. `loading` is one that still reads what it has on disk.
 *
 * Written by hand, because a client library is a tenth of a second of start-up, and would go on reconnecting.
 */
export function pingRedis(path: string, timeoutMs: number): Promise<'ready' | 'loading' | 'silent'> {
  return new Promise((done) => {
    const socket = connect(path);
    const answer = (result: 'ready' | 'loading' | 'silent') => {
      socket.destroy();
      done(result);
    };
    let text = '';
    socket.setTimeout(timeoutMs, () => answer('silent'));
    socket.once('error', () => answer('silent'));
    socket.once('close', () => answer('silent'));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.includes('\r\n')) answer(text.startsWith('+PONG') ? 'ready' : 'loading');
    });
    socket.write('PING\r\n');
  });
}
