import type { Protocol } from '../../contract/protocol.ts';
import { HttpInstance } from './http-instance.ts';
import { serverProgram } from './http-program.ts';

/** A server that listens on `$PORT`: a call is a request to it, and it is kept warm. */
export const httpProtocol: Protocol = {
  name: 'http',

  problemOf({ version: { spec } }, image) {
    return spec.command === undefined && !image ? 'The protocol http needs a command.' : null;
  },

  async start({ runnable, instanceId, host, signal }) {
    const { version } = runnable;
    const server = { program: (port: number) => serverProgram(runnable, port), port: version.spec.http?.port };
    const { process, dialer } = await host.launchServer(server, signal);
    const instance = new HttpInstance(instanceId, runnable, process, dialer);
    await instance.ready(signal);
    return instance;
  },
};
