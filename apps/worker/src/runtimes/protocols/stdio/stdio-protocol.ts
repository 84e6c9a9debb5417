import type { Protocol } from '../../contract/protocol.ts';
import { StdioInstance } from './stdio-instance.ts';

/** A command that runs once for each task: payload on stdin, result on stdout, log on stderr. */
export const stdioProtocol: Protocol = {
  name: 'stdio',

  problemOf({ version: { spec } }, image) {
    return spec.command === undefined && !image ? 'The protocol stdio needs a command.' : null;
  },

  async start({ runnable, instanceId, host, signal, closing }) {
    await host.prepare(signal);
    const command = runnable.version.spec.command ?? null;
    return new StdioInstance(instanceId, runnable, async (env) => {
      const program = { kind: 'command', env, command: () => command, stdin: 'pipe', channel: false } as const;
      return (await host.launch(program, closing)).process;
    });
  },
};
