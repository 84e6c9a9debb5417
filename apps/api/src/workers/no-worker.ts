import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { InterpreterInfo } from '@pilum/core/schemas/worker.ts';
import { needsImage } from '@pilum/core/spec/runtimes.ts';
import { invalid } from '../http/validation.ts';
import type { LiveWorkers, Obstacle } from './live-workers.ts';

/** Makes the refusal of a call that would wait in vain for a worker. */
export function noWorker({ runtime, interpreter, limits }: ArtifactSpec, obstacle: Obstacle): RuntimeError {
  const asyncWaits = 'or call with mode=async: the task then waits for a worker.';
  if (obstacle.missing === 'runtime') {
    return new RuntimeError('NO_WORKER', {
      message: `No live worker has the runtime ${runtime}.`,
      hint: `Start one, see GET /v1/workers; ${asyncWaits}`,
      details: { runtime },
    });
  }
  if (obstacle.missing === 'key') {
    return new RuntimeError('NO_WORKER', {
      message: `No live worker with the runtime ${runtime} has a key for secrets.`,
      hint: `Start one with PILUM_SECRETS_KEY_FILE, see GET /v1/workers; ${asyncWaits}`,
      details: { runtime },
    });
  }
  if (obstacle.missing === 'interpreter') {
    return new RuntimeError('NO_WORKER', {
      message: `No live worker has ${interpreter} (interpreter): ${thereAre(obstacle.there)}.`,
      hint: `Start one that has it (PILUM_INTERPRETERS), or deploy for another interpreter; ${asyncWaits}`,
      details: { runtime, interpreter, there: obstacle.there.map(({ name }) => name) },
    });
  }
  if (obstacle.missing === 'network') return noNetwork(runtime, obstacle.notes, `Install them; ${asyncWaits}`);
  const { cpu, memoryMiB } = limits;
  return new RuntimeError('NO_WORKER', {
    message:
      `No live worker has room for one task: it needs ${cpu} processors (limits.cpu) and ${memoryMiB} MiB ` +
      `(limits.memoryMiB), and no worker has more than ${obstacle.cpu} and ${obstacle.memoryMiB}.`,
    hint: `Lower its limits, start a larger worker (PILUM_WORKER_CPU, PILUM_WORKER_MEMORY_MIB), ${asyncWaits}`,
    details: { runtime, needed: { cpu, memoryMiB }, largest: { cpu: obstacle.cpu, memoryMiB: obstacle.memoryMiB } },
  });
}

/** Says which interpreters there are, for a person to read. */
function thereAre(there: readonly InterpreterInfo[]): string {
  return there.length === 0 ? 'there is none' : `there are ${there.map(({ name }) => name).join(', ')}`;
}

/** Makes the refusal of a version whose network no worker can close to what its list says. */
function noNetwork(runtime: string, notes: readonly string[], then: string): RuntimeError {
  return new RuntimeError('NO_WORKER', {
    message: `No live worker with the runtime ${runtime} can close a network to a list (limits.network), or to what is public.`,
    hint: `It takes nftables, iproute2 and util-linux, a sandbox and user namespaces; details and GET /v1/workers say what is missing. ${then}`,
    details: { runtime, missing: 'network', ...(notes.length === 0 ? {} : { workers: notes.slice(0, MAX_SAID) }) },
  });
}

/**
 * Returns the error for a deployment that no live worker can make ready; null if one can.
 * @throws RequestError `VALIDATION_FAILED` for an interpreter that none of the workers has that have its runtime
 */
export async function whyNobody(workers: LiveWorkers, spec: ArtifactSpec): Promise<RuntimeError | null> {
  const { runtime, interpreter } = spec;
  const obstacle = await workers.obstacleTo(spec);
  if (obstacle === null || obstacle.missing === 'room') return null;
  if (obstacle.missing === 'key') return noWorker(spec, obstacle);
  if (obstacle.missing === 'interpreter') {
    const what = `is ${interpreter}, which no live worker has: ${thereAre(obstacle.there)}`;
    throw invalid([{ where: '/body/interpreter', what }]);
  }
  if (obstacle.missing === 'network') return noNetwork(runtime, obstacle.notes, 'Install them; then deploy again.');
  const said = (await workers.list()).flatMap(({ workerId, runtimes }) =>
    runtimes.filter(({ kind }) => kind === runtime).map(({ notes }) => `${workerId}: ${notes.join('; ')}`),
  );
  return new RuntimeError('NO_WORKER', {
    message: `No live worker has the runtime ${runtime}, and one has to ${needsImage(runtime) ? 'look for the image' : 'start it once'}.`,
    hint: `Start one${needsImage(runtime) ? ' where there is a Docker Engine' : ''}, see GET /v1/workers; then deploy again.`,
    details: { runtime, ...(said.length === 0 ? {} : { workers: said.slice(0, MAX_SAID) }) },
  });
}

/** Number of workers whose problems the error lists. */
const MAX_SAID = 10;
