import type { Runtime, Snapshot, StartOptions } from '../../apps/worker/src/runtimes/runtime.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * A runtime that keeps one blank, and each handler of which is made from it; a start that was not is an error.
 * @param onStanding is told the id of each instance before it is made from the blank that stands then
 */
export async function withBlanks(
  runtime: Runtime,
  onStanding: (instanceId: string) => Promise<void>,
): Promise<Runtime> {
  const { blanks } = runtime;
  if (blanks === null) throw new Error('the runtime has no blanks');
  let isBusy = false;
  let isClosed = false;
  await blanks.open({ isBusy: () => isBusy, memoryMiB: () => 4096 });
  const start = async (snapshot: Snapshot, options: StartOptions) => {
    const { protocol, language = 'node' } = snapshot.version.spec;
    // One with layers may be started the slow way.
    if (protocol !== 'handler' || isClosed || snapshot.layers.length > 0) return await runtime.start(snapshot, options);
    const stands = () => blanks.ready()[language] === 1;
    isBusy = false;
    await blanks.expect(snapshot.version);
    await waitFor(stands, { what: 'a blank', timeoutMs: 15_000 });
    isBusy = true;
    await onStanding(options.instanceId);
    const instance = await runtime.start(snapshot, options);
    if (stands()) throw new Error('the instance was not made from the blank');
    return instance;
  };
  return {
    kind: runtime.kind,
    capabilities: runtime.capabilities,
    blanks,
    preparer: runtime.preparer,
    check: () => runtime.check(),
    removeOrphans: () => runtime.removeOrphans(),
    start,
    async close() {
      isClosed = true;
      await runtime.close();
    },
  };
}
