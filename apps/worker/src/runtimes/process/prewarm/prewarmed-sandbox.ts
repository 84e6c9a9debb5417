import { once } from 'node:events';
import { readGuarded } from '../../contract/intake.ts';
import type { LaunchedProcess } from '../../contract/launched-process.ts';
import { encodeFrame, FRAME_TYPES, FrameReader } from '../../protocols/handler/frames.ts';
import type { Cgroup } from '../../sandbox/cgroup/cgroup.ts';
import type { CodeSlot, CodeTree } from './code-slot.ts';

/** The largest answer of an interpreter that is asked whether it is there, bytes. */
const MAX_FRAME = 1024;

/** The properties of a prewarmed sandbox that a version has to fit. */
export interface PrewarmShape {
  readonly language: string;
  /** The same for two versions only where their processes would be made in the same way, to the letter. */
  readonly key: string;
  /** The memory of the worker that a standing one takes, MiB. */
  readonly memoryMiB: number;
}

/**
 * An interpreter in its closed sandbox that has no code yet. A prewarmed sandbox serves one version, once:
 *
 *     made → prepare → standing → become   an instance's process
 *              └───────────┴──→ discard
 */
export class PrewarmedSandbox {
  readonly shape: PrewarmShape;
  readonly madeAtMs = performance.now();
  /** Resolves once, when it is gone with everything that was made for it. */
  readonly ended: LaunchedProcess['ended'];
  readonly #process: LaunchedProcess;
  readonly #cgroup: Cgroup | null;
  /** The directory for its code; null without a sandbox, where an interpreter can be told where its code is. */
  readonly #slot: CodeSlot | null;
  #hasEnded = false;

  constructor(shape: PrewarmShape, process: LaunchedProcess, cgroup: Cgroup | null, slot: CodeSlot | null) {
    this.shape = shape;
    this.#process = process;
    this.#cgroup = cgroup;
    this.#slot = slot;
    this.ended = process.ended.then(async (status) => {
      this.#hasEnded = true;
      // A slot that cannot be removed now goes with the worker.
      await slot?.remove().catch(() => undefined);
      return status;
    });
  }

  /**
   * Waits until its interpreter is up and has done what it can before there is code.
   * @throws Error where it ends before, or `signal` is aborted; it is to be discarded then
   */
  async prepare(signal: AbortSignal): Promise<void> {
    const { channel } = this.#process;
    if (channel === null) throw new Error('a prewarmed sandbox needs a channel');
    const answered = Promise.withResolvers<void>();
    const reader = new FrameReader((type) => (type === FRAME_TYPES.PONG ? MAX_FRAME : 0));
    const take = (chunk: Buffer) => {
      for (const _pong of reader.push(chunk)) answered.resolve();
    };
    const stopReading = readGuarded(channel, take, answered.reject);
    channel.write(encodeFrame(FRAME_TYPES.PREPARE, {}));
    const settled = new AbortController();
    try {
      await Promise.race([
        answered.promise,
        this.#process.ended.then(({ exitCode, signal: name }) => {
          throw new Error(`a prewarmed sandbox ended before it was ready (${name ?? `exit code ${exitCode}`})`);
        }),
        once(signal, 'abort', { signal: settled.signal }).then(() => signal.throwIfAborted()),
      ]);
    } finally {
      settled.abort();
      stopReading();
      reader.close();
    }
  }

  /**
   * Becomes the process of a version's instance, with its code in place.
   * @throws Error where it cannot get this code; it is to be discarded then
   */
  async become(codeDirectory: string, tree: CodeTree): Promise<LaunchedProcess> {
    this.#cgroup?.setWeight('normal');
    await this.#slot?.fill(codeDirectory, tree);
    if (this.#hasEnded) throw new Error('the prewarmed sandbox has died');
    return { ...this.#process, ended: this.ended };
  }

  /** Ends it, and waits until nothing is left of it. */
  async discard(): Promise<void> {
    const { channel, stdout, stderr } = this.#process;
    // Nobody has read them, nor will.
    for (const stream of [channel, stdout, stderr]) stream?.destroy();
    this.#process.terminate(0);
    await this.ended;
  }
}
