import { Rounds } from '@pilum/core/async/rounds.ts';
import { ConfigurationError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import { canRunOn } from '@pilum/core/spec/can-run.ts';
import type { ArtifactRuntime } from '@pilum/core/spec/runtimes.ts';
import type { WallName } from '@pilum/core/spec/walls.ts';
import type { Logger } from 'pino';
import type { Runtime } from './contract/runtime.ts';

/** Between two checks, ms. */
const CHECK_INTERVAL_MS = 5000;

/** The runtimes of a worker, and which of them work at the moment. */
export class AvailableRuntimes {
  readonly all: readonly Runtime[];
  readonly #onAvailable: (runtime: Runtime) => void;
  readonly #required: readonly WallName[];
  readonly #admits: (version: Version) => boolean;
  readonly #logger: Logger;
  readonly #rounds: Rounds;
  #statuses: readonly RuntimeStatus[] = [];
  /** The runtimes that work and run nothing, with the walls that they lack. */
  readonly #lacks = new Map<ArtifactRuntime, string>();

  /**
   * @param required the walls without which a runtime runs nothing
   * @param onAvailable hears of each runtime that works, and did not at the last check
   * @param options.admits tells whether the worker has what a version needs beside its runtime
   */
  constructor(
    all: readonly Runtime[],
    required: readonly WallName[],
    onAvailable: (runtime: Runtime) => void,
    logger: Logger,
    { admits = () => true }: { readonly admits?: (version: Version) => boolean } = {},
  ) {
    this.all = all;
    this.#required = required;
    this.#admits = admits;
    this.#onAvailable = onAvailable;
    this.#logger = logger;
    this.#rounds = new Rounds(() => this.#check(), {
      everyMs: CHECK_INTERVAL_MS,
      onError: (error) => logEvent(logger, 'runtimes-unchecked', { err: error }),
    });
  }

  /**
   * Checks them now, and then again and again.
   * @throws ConfigurationError `CONFIGURATION_INVALID` where what works here lacks a wall that is required, and nothing is left
   */
  async open(): Promise<void> {
    await this.#check();
    if (this.#lacks.size > 0 && !this.hasSome) {
      const why = [...this.#lacks].map(([kind, lack]) => `runtime ${kind}: ${lack}`).join('; ');
      throw new ConfigurationError('CONFIGURATION_INVALID', {
        message: `No runtime of this worker has all walls that it is to have: ${why}.`,
      });
    }
    this.#rounds.open();
  }

  /** Begins no further check. A check that is under way is left to itself; the runtimes are their owner's to close. */
  close(): void {
    void this.#rounds.close();
  }

  /** Findings of the last check; empty before the first. */
  get statuses(): readonly RuntimeStatus[] {
    return this.#statuses;
  }

  /** Whether any runtime works. */
  get hasSome(): boolean {
    return this.#statuses.some(({ available }) => available);
  }

  /** Whether this worker could start an instance of the version now. */
  canRun(version: Version): boolean {
    const { spec } = version;
    if (!this.#admits(version)) return false;
    return this.#statuses.some((status) => status.kind === spec.runtime && canRunOn(status, spec));
  }

  /** Returns the runtime of a version; null where this worker has none of that kind. */
  find({ spec }: Version): Runtime | null {
    return this.#ofKind(spec.runtime);
  }

  /**
   * Returns the runtime of a version.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE` where this worker has none of that kind, or it lacks a wall that is required
   */
  require(version: Version): Runtime {
    const runtime = this.find(version);
    if (runtime === null) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `This worker has no ${version.spec.runtime} runtime.` });
    }
    const lack = this.#lacks.get(runtime.kind);
    if (lack !== undefined) {
      const message = `The ${runtime.kind} runtime of this worker runs nothing: ${lack}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message });
    }
    return runtime;
  }

  /** Returns the status of a runtime as others see it: not available where it lacks a wall that is required. */
  async #statusOf(runtime: Runtime): Promise<RuntimeStatus> {
    const status = await runtime.check();
    const lack = status.available ? lackOf(status, this.#required) : null;
    if (lack === null) {
      this.#lacks.delete(runtime.kind);
      return status;
    }
    this.#lacks.set(runtime.kind, lack);
    return { ...status, available: false, notes: [lack, ...status.notes] };
  }

  /** Asks each runtime whether it works, and says in the log what has changed. */
  async #check(): Promise<void> {
    const before = new Map(this.#statuses.map((status) => [status.kind, status.available]));
    this.#statuses = await Promise.all(this.all.map((runtime) => this.#statusOf(runtime)));
    for (const status of this.#statuses) {
      if (before.get(status.kind) === status.available) continue;
      // Of a machine that has never had the one, and works with another, that is no fault.
      const isMissed = before.has(status.kind) || !this.hasSome;
      const level = status.available || !isMissed ? 'info' : 'error';
      this.#logger[level](
        {
          runtime: status.kind,
          isolation: status.isolation,
          limits: status.limits,
          interpreters: status.interpreters?.map(({ name, version }) => `${name} (${version})`),
          notes: status.notes,
        },
        status.available ? 'runtime available' : 'runtime not available',
      );
      const runtime = this.#ofKind(status.kind);
      if (status.available && runtime !== null) this.#onAvailable(runtime);
    }
  }

  #ofKind(kind: ArtifactRuntime): Runtime | null {
    return this.all.find((runtime) => runtime.kind === kind) ?? null;
  }
}

/** Says which of the walls that are required a runtime that works has not, and why; null where it has all of them. */
function lackOf({ walls = {} }: RuntimeStatus, required: readonly WallName[]): string | null {
  const lacks = required.flatMap((wall) => {
    const why = walls[wall];
    return why === null ? [] : [`${wall}, which is not in force (${why ?? 'the runtime does not say that it is'})`];
  });
  return lacks.length === 0 ? null : `PILUM_REQUIRE names ${lacks.join(', and ')}`;
}
