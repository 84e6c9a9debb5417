import { join } from 'node:path';
import { check, type Verdict } from '../checker/checker.ts';
import { History, readHistory } from '../history/history.ts';
import { Caller } from '../load/caller.ts';
import { deployLoad } from '../load/deploy-load.ts';
import { HttpClient } from '../load/http-client.ts';
import { API_KEY, Cluster, type ClusterOptions } from '../parts/cluster.ts';
import { Collector } from '../parts/collector.ts';
import { harvest } from './harvest.ts';
import { watchLag } from './lag.ts';
import { Progress } from './progress.ts';

/** All that a run plays on. */
export interface Stage {
  readonly cluster: Cluster;
  readonly client: HttpClient;
  readonly caller: Caller;
  readonly history: History;
  readonly progress: Progress;
}

export interface StageOptions extends Omit<ClusterOptions, 'history' | 'apis'> {
  /** Ends the run; it is not checked then. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Starts a whole Pilum with the functions of the load in it, plays, reads all that is left, ends everything it has
 * started, and checks the history.
 * @throws what `signal` was aborted with
 */
export async function onStage(options: StageOptions, play: (stage: Stage) => Promise<void>): Promise<Verdict> {
  const { directory, signal, onProgress } = options;
  const history = new History(join(directory, 'history.jsonl'));
  const progress = new Progress();
  history.onEvent(progress.note);
  onProgress?.(progress);
  const stopWatching = watchLag(history);
  const collector = await Collector.open((report) => history.write(report));
  let cluster: Cluster | undefined;
  let client: HttpClient | undefined;
  const endCalls = () => client?.close();
  signal.addEventListener('abort', endCalls);
  try {
    cluster = await Cluster.start({ ...options, history, apis: 2 });
    client = new HttpClient(cluster.ports, { authorization: `Bearer ${API_KEY}` });
    await deployLoad(client, collector.address);
    const caller = new Caller(client, history);
    signal.throwIfAborted();
    await play({ cluster, client, caller, history, progress });
    signal.throwIfAborted();
    await harvest({ client, caller, history }, progress.tasks, signal);
  } finally {
    signal.removeEventListener('abort', endCalls);
    client?.close();
    await cluster?.close();
    collector.close();
    stopWatching();
    await history.close();
  }
  signal.throwIfAborted();
  return check(await readHistory(history.path));
}
