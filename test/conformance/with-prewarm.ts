import type { RunnableVersion, Runtime, StartOptions } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { startupEnvironment } from '../../apps/worker/src/runtimes/protocols/handler/startup-environment.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * A runtime that keeps one prewarmed sandbox, and each handler of which is made from it; a start that was not is an error.
 * @param onStanding is told the id of each instance before it is made from the prewarmed sandbox that stands then
 */
export async function withPrewarm(
  runtime: Runtime,
  onStanding: (instanceId: string) => Promise<void>,
): Promise<Runtime> {
  const { prewarm } = runtime;
  if (prewarm === null) throw new Error('the runtime has no blanks');
  let isBusy = false;
  let isClosed = false;
  await prewarm.open({ isBusy: () => isBusy, memoryMiB: () => 4096 });
  const start = async (runnable: RunnableVersion, options: StartOptions) => {
    const { protocol, language = 'node', env, writable } = runnable.version.spec;
    // One with layers or with places of its own may be started the slow way; so may one whose interpreter is to read its variables.
    const isSlow = runnable.layers.length > 0 || writable !== undefined || startupEnvironment(language, env) !== null;
    if (protocol !== 'handler' || isClosed || isSlow) return await runtime.start(runnable, options);
    const stands = () => prewarm.ready()[language] === 1;
    isBusy = false;
    await prewarm.expect(runnable.version);
    await waitFor(stands, { what: 'a blank' });
    isBusy = true;
    await onStanding(options.instanceId);
    const instance = await runtime.start(runnable, options);
    if (stands()) throw new Error('the instance was not made from the blank');
    return instance;
  };
  return {
    kind: runtime.kind,
    capabilities: runtime.capabilities,
    prewarm,
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
