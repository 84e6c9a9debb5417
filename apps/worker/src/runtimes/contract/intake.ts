import type { Readable } from 'node:stream';

/**
 * Reads what a function sends: every chunk goes to `take`, and whatever is thrown there goes to `onBroken`, which ends that
 * function's instance. Nothing that a function sends can be thrown any further: there it would end the worker, and every task
 * on it. After a throw nothing more is read from this stream.
 * @returns what stops the reading
 */
export function readGuarded(
  stream: Readable,
  take: (chunk: Buffer) => void,
  onBroken: (thrown: unknown) => void,
): () => void {
  const onData = (chunk: Buffer) => {
    try {
      take(chunk);
    } catch (thrown) {
      stop();
      onBroken(thrown);
    }
  };
  const stop = () => {
    stream.off('data', onData);
  };
  stream.on('data', onData);
  return stop;
}
