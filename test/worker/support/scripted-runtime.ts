import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import { pino } from 'pino';
import { InstancePool } from '../../../apps/worker/src/pool/instance-pool.ts';
import type { InstanceEnd, Runtime, RuntimeInstance } from '../../../apps/worker/src/runtimes/contract/runtime.ts';
import { fill } from '../../conformance/snapshots.ts';

const GONE: InstanceEnd = { reason: 'stopped', exitCode: 0, signal: null, lastOutput: '' };

/** A runtime whose instances live and die as the test says: thousands of them in a second. */
export class ScriptedRuntime implements Runtime {
  readonly kind = 'process';
  readonly prewarm = null;
  readonly preparer = null;
  readonly capabilities = { protocols: ['handler' as const], streaming: false };
  readonly alive = new Map<string, () => void>();
  /** Ids of instances that do not answer. */
  readonly sick = new Set<string>();
  /** What an ask waits for before it is answered. */
  answering: Promise<void> = Promise.resolve();
  failNext = false;
  started = 0;
  asked = 0;
  mostAskedAtOnce = 0;
  #beingAsked = 0;

  check(): Promise<RuntimeStatus> {
    return Promise.resolve({ kind: this.kind, available: true, isolation: 'sandbox', limits: [], notes: [] });
  }

  removeOrphans(): Promise<void> {
    return Promise.resolve();
  }

  async start(_runnable: unknown, { instanceId }: { instanceId: string }): Promise<RuntimeInstance> {
    await Promise.resolve();
    if (this.failNext) {
      this.failNext = false;
      throw new InstanceError('INSTANCE_START_FAILED');
    }
    this.started++;
    const { promise: ended, resolve } = Promise.withResolvers<InstanceEnd>();
    const end = () => {
      this.alive.delete(instanceId);
      this.sick.delete(instanceId);
      resolve(GONE);
    };
    this.alive.set(instanceId, end);
    return {
      instanceId,
      reusable: true,
      ended,
      call: () => Promise.reject(new Error('not called here')),
      check: async () => {
        this.asked++;
        this.#beingAsked++;
        this.mostAskedAtOnce = Math.max(this.mostAskedAtOnce, this.#beingAsked);
        await this.answering;
        this.#beingAsked--;
        return this.alive.has(instanceId) && !this.sick.has(instanceId);
      },
      stop: async () => {
        end();
        await ended;
      },
    };
  }

  close(): Promise<void> {
    for (const end of this.alive.values()) end();
    return Promise.resolve();
  }
}

/** A pool of such instances, on a worker that has room for any number of them. */
export function scriptedPool(
  pool: NonNullable<ArtifactSpecInput['pool']>,
  runtime = new ScriptedRuntime(),
  spec: Partial<ArtifactSpecInput> = {},
): { pool: InstancePool; runtime: ScriptedRuntime } {
  const version = fill({ runtime: 'process', entry: 'a.mjs', pool, ...spec });
  const deps = {
    runtime,
    verifyCode: () => Promise.resolve(),
    secrets: async () => null,
    admit: () => Promise.resolve(),
    killGraceMs: 0,
    logger: pino({ level: 'silent' }),
    makeRoom: () => undefined,
    hasRoom: () => true,
    onRoom: () => undefined,
    onIdleGone: () => undefined,
  };
  return { pool: new InstancePool({ namespace: 'a', version, codeDirectory: null, layers: [] }, deps), runtime };
}
