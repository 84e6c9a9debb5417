import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import type { Protocol } from '@pilum/core/spec/protocols.ts';

/** Lowest port that a process without privileges may listen on. */
const FIRST_FREE_PORT = 1024;

/** Returns the problems of the server that a spec describes. */
export function serverProblems({ runtime, http, env, limits }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  const problems: Problem[] = [];
  if (protocol !== 'http') return problems;
  const where = '/body/http/port';
  if (env?.PORT !== undefined) {
    const port = /^\d{1,5}$/.test(env.PORT) ? env.PORT : '3000';
    const what = `is said to the server by Pilum: it listens on it, or has a port of its own, {"http": {"port": ${port}}}`;
    problems.push({ where: '/body/env/PORT', what });
  }
  if (http?.port === undefined) return problems;
  if (limits?.network === 'host') {
    problems.push({
      where,
      what: 'needs another limits.network than host: with the network of the host each instance has a port of its own',
    });
  }
  if (runtime === 'process' && http.port < FIRST_FREE_PORT) {
    problems.push({ where, what: `must be ${FIRST_FREE_PORT} or more for runtime process` });
  }
  return problems;
}
