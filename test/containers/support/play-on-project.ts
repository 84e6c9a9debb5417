import { join } from 'node:path';
import { check, type Verdict } from '../../chaos/checker/checker.ts';
import type { FaultKind } from '../../chaos/history/events.ts';
import { History, readHistory } from '../../chaos/history/history.ts';
import { Caller } from '../../chaos/load/caller.ts';
import { deployLoad } from '../../chaos/load/deploy-load.ts';
import { HttpClient } from '../../chaos/load/http-client.ts';
import { type LoadOptions, steadyLoad } from '../../chaos/load/steady-load.ts';
import { Collector } from '../../chaos/parts/collector.ts';
import { harvest } from '../../chaos/run/harvest.ts';
import { watchLag } from '../../chaos/run/lag.ts';
import { Progress } from '../../chaos/run/progress.ts';
import { Random } from '../../chaos/run/random.ts';
import type { ComposeProject } from './compose-project.ts';
import { ContainerWatch } from './container-watch.ts';

/** Does something to a project that is under load; the load goes on until the last one is done. */
export interface Deed {
  readonly kind: FaultKind;
  readonly target: string;
  do(watch: ContainerWatch): Promise<void>;
}

/**
 * Puts a load on a project through the port that it publishes, does one deed after the other, reads all that is on record
 * in the end, and checks the history. The project's workers are stopped then.
 */
export async function playOnProject(
  project: ComposeProject,
  options: LoadOptions,
  deeds: readonly Deed[],
): Promise<Verdict> {
  const history = new History(join(project.directory, 'history.jsonl'));
  const progress = new Progress();
  history.onEvent(progress.note);
  const stopWatching = watchLag(history);
  const collector = await Collector.open((report) => history.write(report), await gatewayOf(project));
  const watch = await ContainerWatch.open(project, history);
  const client = new HttpClient([project.port], { authorization: `Bearer ${project.key}` });
  const caller = new Caller(client, history);
  try {
    await deployLoad(client, collector.address);
    const over = new AbortController();
    const load = steadyLoad(options, { caller, history, progress }, new Random(options.seed), over.signal);
    try {
      for (const [index, { kind, target, do: act }] of deeds.entries()) {
        history.write({ type: 'fault-begin', at: Date.now(), fault: index + 1, kind, target });
        await act(watch);
        history.write({ type: 'fault-end', at: Date.now(), fault: index + 1 });
      }
    } finally {
      over.abort();
      await load;
    }
    await harvest({ client, caller, history }, progress.tasks, options.signal);
  } finally {
    client.close();
    await project.type('docker-compose stop worker api');
    await watch.close();
    collector.close();
    stopWatching();
    await history.close();
  }
  options.signal.throwIfAborted();
  return check(await readHistory(history.path));
}

/** The address of this machine in the project's network. */
async function gatewayOf(project: ComposeProject): Promise<string> {
  const format = '{{(index .IPAM.Config 0).Gateway}}';
  return (await project.must(`docker network inspect --format '${format}' ${project.name}_default`)).trim();
}
