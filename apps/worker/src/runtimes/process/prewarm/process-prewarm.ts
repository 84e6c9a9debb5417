import { randomUUID } from 'node:crypto';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { type ArtifactSpec, DEFAULT_DISK_READ_MIBPS, Limits } from '@pilum/core/schemas/artifact-spec.ts';
import { convert } from '@pilum/core/schemas/check.ts';
import { DEFAULT_LANGUAGE, type Language } from '@pilum/core/spec/languages.ts';
import type { Logger } from 'pino';
import { hasSecretFiles } from '../../contract/instance-secrets.ts';
import type { LaunchedProcess } from '../../contract/launched-process.ts';
import type { Prewarm, RunnableVersion, Spare } from '../../contract/runtime.ts';
import { handlerProgram } from '../../protocols/handler/handler-program.ts';
import { startupEnvironment } from '../../protocols/handler/startup-environment.ts';
import type { Launcher } from '../../sandbox/launcher.ts';
import { CodeSlot, readCodeTree } from './code-slot.ts';
import { PrewarmPool } from './prewarm-pool.ts';
import { PrewarmedSandbox, type PrewarmShape } from './prewarmed-sandbox.ts';

/** The memory that a prewarmed interpreter shares with no other, as measured, MiB: docs/decisions/0007. */
const MEMORY_MIB = { node: 16, python: 8 } as const satisfies Record<Language, number>;
/** The time in which an interpreter at a low weight has to be up, ms. */
const MAKE_LIMIT_MS = 30_000;
/** The code directory in a plan for nobody's code. */
const SOME_DIRECTORY = '/';

/** Everything that an interpreter's process depends on before it has code. */
interface Shape extends PrewarmShape {
  readonly language: Language;
  readonly limits: ArtifactSpec['limits'];
  readonly interpreter: ArtifactSpec['interpreter'];
}

export interface ProcessPrewarmDeps {
  /** The number of sandboxes for each language. */
  readonly count: number;
  readonly stagingDirectory: string;
  /** Returns the launcher for this machine as it is now. @throws where the machine can run nothing */
  readonly launcher: () => Promise<Launcher>;
  readonly logger: Logger;
}

/** The prewarmed sandboxes of the process runtime. An instance that is made from one is like any other. */
export class ProcessPrewarm implements Prewarm {
  readonly #deps: ProcessPrewarmDeps;
  readonly #stock: PrewarmPool<Shape>;

  constructor(deps: ProcessPrewarmDeps) {
    this.#deps = deps;
    this.#stock = new PrewarmPool({
      count: deps.count,
      make: (shape, signal) => this.#make(shape, signal),
      logger: deps.logger,
    });
  }

  async open(spare: Spare): Promise<void> {
    const launcher = await this.#deps.launcher();
    const limits = convert(Limits, {}) as ArtifactSpec['limits'];
    const languages: Language[] = launcher.machine.python.ok ? ['node', 'python'] : ['node'];
    this.#stock.open(
      languages.map((language) => shapeOf(launcher, language, limits)),
      spare,
    );
  }

  async expect({ spec, layers = [] }: Version): Promise<void> {
    if (spec.protocol !== 'handler' || wantsOwnMounts(spec)) return;
    const language = spec.language ?? DEFAULT_LANGUAGE;
    if (startupEnvironment(language, spec.env) !== null) return;
    const launcher = await this.#deps.launcher();
    if (!canSee(launcher, layers)) return;
    const { interpreter } = spec;
    if (interpreter !== undefined) await launcher.machine.interpreters.place(interpreter);
    if (interpreter !== undefined || language === 'node' || launcher.machine.python.ok) {
      this.#stock.expect(shapeOf(launcher, language, spec.limits, interpreter));
    }
  }

  ready(): Record<string, number> {
    return this.#stock.ready();
  }

  /** Gives up those for which instances leave no memory. */
  makeRoom(): void {
    this.#stock.makeRoom();
  }

  /** The process of a prewarmed sandbox that fits a handler, with its code in place; null where the slow way is to be taken. */
  async take(
    launcher: Launcher,
    { version: { spec }, codeDirectory, layers }: RunnableVersion,
  ): Promise<LaunchedProcess | null> {
    if (codeDirectory === null || wantsOwnMounts(spec) || !canSee(launcher, layers)) return null;
    const language = spec.language ?? DEFAULT_LANGUAGE;
    // Its interpreter has been started: what it would have read then is too late.
    if (startupEnvironment(language, spec.env) !== null) return null;
    const shape = shapeOf(launcher, language, spec.limits, spec.interpreter);
    this.#stock.expect(shape);
    const tree = await readCodeTree(codeDirectory);
    const prewarmed = tree === null ? null : this.#stock.take(shape);
    if (prewarmed === null || tree === null) return null;
    try {
      return await prewarmed.become(codeDirectory, tree);
    } catch (error) {
      logEvent(this.#deps.logger, 'prewarmed-not-used', { err: error });
      this.#stock.pause();
      void prewarmed.discard();
      return null;
    }
  }

  async close(): Promise<void> {
    await this.#stock.close();
  }

  async #make(shape: Shape, closing: AbortSignal): Promise<PrewarmedSandbox> {
    const launcher = await this.#deps.launcher();
    const slot = launcher.isSandboxed ? await CodeSlot.make(this.#deps.stagingDirectory) : null;
    let prewarmed: PrewarmedSandbox;
    try {
      const { process, cgroup } = await launcher.launch(
        { limits: shape.limits, codeDirectory: slot?.directory ?? null, layers: [], interpreter: shape.interpreter },
        handlerProgram(shape.language, shape.limits.memoryMiB),
        `prewarmed-${randomUUID()}`,
        'low',
      );
      prewarmed = new PrewarmedSandbox(shape, process, cgroup, slot);
    } catch (error) {
      await slot?.remove();
      throw error;
    }
    const limit = AbortSignal.timeout(MAKE_LIMIT_MS);
    try {
      await prewarmed.prepare(AbortSignal.any([closing, limit]));
      return prewarmed;
    } catch (error) {
      await prewarmed.discard();
      throw error;
    }
  }
}

/** Whether a version has something in its sandbox that one which is made already cannot be given. */
function wantsOwnMounts(spec: ArtifactSpec): boolean {
  return spec.writable !== undefined || hasSecretFiles(spec);
}

/** A sandbox that is closed sees no layer any more; without one, layers are where they are. */
function canSee({ isSandboxed }: Launcher, layers: readonly unknown[]): boolean {
  return !isSandboxed || layers.length === 0;
}

/** @param interpreter one that has been placed; undefined for the default one of the language */
function shapeOf(
  launcher: Launcher,
  language: Language,
  limits: ArtifactSpec['limits'],
  interpreter?: ArtifactSpec['interpreter'],
): Shape {
  const { memoryMiB, cpu, pids, diskReadMiBps } = limits;
  const wanted = { limits, codeDirectory: launcher.isSandboxed ? SOME_DIRECTORY : null, layers: [], interpreter };
  const plan = launcher.planFor(wanted, handlerProgram(language, memoryMiB));
  const key = JSON.stringify([language, memoryMiB, cpu, pids, diskReadMiBps ?? DEFAULT_DISK_READ_MIBPS, plan]);
  return { language, limits, interpreter, key, memoryMiB: MEMORY_MIB[language] };
}
