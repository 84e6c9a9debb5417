import { connect } from 'node:net';
import { waitFor } from '../../test/support/wait-for.ts';
import { ECHO_SERVER } from '../support/functions.ts';
import { untilTold } from './until-told.ts';

/** The server that Pilum is given as a function, on a port of its own. */
await import(`data:text/javascript,${encodeURIComponent(ECHO_SERVER)}`);
await waitFor(
  () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(Number(process.env.PORT), '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    }),
);
untilTold();
