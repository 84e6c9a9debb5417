import { createServer } from 'node:net';
import { Refusal } from '../setup/refusal.mjs';

/**
 * Checks that the API will be able to listen. Its own attempt is the one that counts, but comes late: by then Redis
 * runs and has to be stopped again.
 * @param port 0 for any free one.
 * @returns The port.
 * @throws Refusal that says what to do.
 */
export function freePort(host: string, port: number): Promise<number> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => fail(new Refusal(sentenceOf(error, host, port))));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const taken = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => done(taken));
    });
  });
}

function sentenceOf({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is in use: stop what listens there, or choose another port with --port.`;
    case 'EACCES':
      return `This user may not listen on port ${port}: choose one above 1023 with --port.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${host} is not an address of this machine: choose one that is with --host.`;
    default:
      return `The API cannot listen on ${host} port ${port}: ${message}.`;
  }
}
