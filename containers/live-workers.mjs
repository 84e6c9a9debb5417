/**
 * Prints the host names of the workers that live and can run something, one a line. For scripts, in a container of the
 * API: what it needs to know is in its environment.
 */
const LIMIT_MS = 5000;

const answer = await fetch(`http://127.0.0.1:${process.env.PILUM_PORT || 8080}/v1/workers`, {
  headers: { authorization: `Bearer ${process.env.PILUM_API_KEY}` },
  signal: AbortSignal.timeout(LIMIT_MS),
});
if (!answer.ok) throw new Error(`/v1/workers answers ${answer.status}`);
const { workers } = await answer.json();
for (const { host, runtimes, draining } of workers) {
  if (!draining && runtimes.some(({ available }) => available)) console.log(host);
}
