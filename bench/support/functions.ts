/** The functions that are measured. */
export const ECHO = 'export default (event) => event';
export const NOOP = 'export default () => 1';
/** Waits so many ms, and gives them back. */
export const WAITS = 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))';
