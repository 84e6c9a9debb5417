/** The functions that are measured. */
export const ECHO = 'export default (event) => event';
export const NOOP = 'export default () => 1';
/** Waits so many ms, and gives them back. */
export const WAITS = 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))';

/** The same as a web endpoint, and as an invoke: what it gets in a body it gives back. */
export const ECHO_EITHER = 'export default (event) => event.body ?? event';

/** A server that gives back what it gets, as it would run anywhere. */
export const ECHO_SERVER = `
  import { createServer } from 'node:http';
  createServer((request, answer) => {
    answer.setHeader('content-type', 'application/json');
    request.pipe(answer);
  }).listen(process.env.PORT);`;
