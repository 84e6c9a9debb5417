import { once } from 'node:events';
import { waitFor } from '../../support/wait-for.ts';

/**
 * Keeps a process from running anything else, through the inspector that Node opens at SIGUSR1. Resolves when it runs
 * again, or is gone.
 * @param openInspector sends the signal
 * @param port that the process was told to open its inspector on
 * @param forMs how long, ms
 */
export async function blockEventLoop(openInspector: () => void, port: number, forMs: number): Promise<void> {
  openInspector();
  const url = await waitFor(
    async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/json/list`);
      const [target] = (await answer.json()) as { webSocketDebuggerUrl: string }[];
      return target?.webSocketDebuggerUrl;
    },
    { what: 'the inspector of a worker' },
  );
  const socket = new WebSocket(url);
  await once(socket, 'open');
  const expression = `{ const end = Date.now() + ${forMs}; while (Date.now() < end); }`;
  socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
  // It answers when the loop is over, or the socket closes with the process.
  const over = new AbortController();
  await Promise.race([
    once(socket, 'message', { signal: over.signal }),
    once(socket, 'close', { signal: over.signal }),
  ]).finally(() => over.abort());
  socket.close();
}
