/** Whether this container does its work: ends with 0, or with 1. For HEALTHCHECK. */
import { readFileSync } from 'node:fs';

/** Docker gives up after 5 s, and says less. */
const LIMIT_MS = 4000;

// A worker that hangs ends by itself, and with it its container; what it can do is in /v1/workers.
if (!readFileSync('/proc/1/cmdline', 'utf8').includes('/apps/api/')) process.exit(0);

try {
  const url = `http://127.0.0.1:${process.env.PILUM_PORT || 8080}/livez`;
  const { status } = await fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) });
  if (status === 200) process.exit(0);
  console.error(`${url} answers ${status}`);
} catch (error) {
  console.error(error instanceof Error ? (error.cause ?? error) : error);
}
process.exit(1);
