/** Says that this process is ready, and ends it when it is told to or its parent is gone. */
export function untilTold(close: () => Promise<void> = async () => undefined): void {
  const end = () => void close().finally(() => process.exit(0));
  process.once('SIGTERM', end);
  process.once('disconnect', end);
  process.send?.('ready');
}
