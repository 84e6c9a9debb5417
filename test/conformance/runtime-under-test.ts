import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { HttpHead } from '@pilum/core/schemas/http-head.ts';
import type { Protocol } from '@pilum/core/spec/protocols.ts';
import type {
  Call,
  LogLine,
  RunnableVersion,
  Runtime,
  RuntimeInstance,
} from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { fill } from './snapshots.ts';

/** A runtime and what the suite has to know of it: a later one joins with one of these. */
export interface RuntimeUnderTest {
  readonly title: string;
  /** What it declares; each has its contract. */
  readonly protocols: readonly Protocol[];
  /** Whether functions are kept from the machine and from each other. */
  readonly isolated: boolean;
  /** Whether instances see the files of an image in the place of the machine's. */
  readonly ownRoot?: boolean;
  /** Whether also those processes end with their instance that do all they can to outlive it. */
  readonly holdsDescendants: boolean;
  /** Whether an instance ends that takes more memory than it may; true where it is not said. */
  readonly limitsMemory?: boolean;
  /** Whether output is passed on before a task ends. */
  readonly streams: boolean;
  /** Why it cannot be tried on this machine; null where it can. */
  readonly unavailable: string | null;
  /** Opens the runtime, with the functions of test/fixtures/functions in a directory that instances can read. */
  open(): Promise<OpenRuntime>;
}

export interface OpenRuntime {
  readonly runtime: Runtime;
  readonly codeDirectory: string;
  /** Where the layers of ./stage-layers.ts lie. */
  readonly layersDirectory: string;
  /** Runs the checks that need to know how it is made: that an ended instance left nothing behind. */
  leftovers(instanceId: string): Promise<string[]>;
  close(): Promise<void>;
}

export type Deployment = Partial<Omit<ArtifactSpecInput, 'runtime'>> & {
  readonly withoutCode?: boolean;
  /** Of those of ./stage-layers.ts. */
  readonly layers?: readonly string[];
};

/** Starts instances and calls them, with what every call needs filled in. */
export class Bench {
  readonly open: OpenRuntime;
  readonly #subject: RuntimeUnderTest;
  readonly #instances: RuntimeInstance[] = [];

  private constructor(subject: RuntimeUnderTest, open: OpenRuntime) {
    this.#subject = subject;
    this.open = open;
  }

  static async of(subject: RuntimeUnderTest): Promise<Bench> {
    return new Bench(subject, await subject.open());
  }

  /** A second runtime of the same kind. */
  async another(): Promise<Bench> {
    return await Bench.of(this.#subject);
  }

  runnable({ withoutCode = false, layers = [], ...input }: Deployment): RunnableVersion {
    return {
      namespace: 'default',
      version: fill({ runtime: this.open.runtime.kind, ...input }),
      codeDirectory: withoutCode ? null : this.open.codeDirectory,
      layers: layers.map((id) => ({ id, directory: join(this.open.layersDirectory, id) })),
    };
  }

  async start(deployment: Deployment, signal: AbortSignal = AbortSignal.timeout(120_000)): Promise<TestInstance> {
    const instance = await this.open.runtime.start(this.runnable(deployment), { instanceId: randomUUID(), signal });
    this.#instances.push(instance);
    return new TestInstance(instance);
  }

  /** One call of a new instance, which is stopped after it. */
  async once(deployment: Deployment, event: unknown = {}): Promise<Answer> {
    const instance = await this.start(deployment);
    try {
      return await instance.call(event);
    } finally {
      await instance.stop();
    }
  }

  /** Ends what a test left running. */
  async clear(): Promise<void> {
    await Promise.all(this.#instances.splice(0).map((instance) => instance.stop({ graceMs: 0 })));
  }
}

export interface Answer {
  readonly ok: boolean;
  readonly contentType?: string;
  readonly body: Buffer;
  /** The body where it is JSON, else as text. */
  readonly value: unknown;
  readonly error?: { code: string; message: string; details?: Record<string, unknown> };
  readonly streamed?: true;
  readonly head?: HttpHead;
  readonly log: LogLine[];
}

export class TestInstance {
  readonly instance: RuntimeInstance;
  /** Of the call that runs, as it comes. */
  log: LogLine[] = [];

  constructor(instance: RuntimeInstance) {
    this.instance = instance;
  }

  async call(event: unknown, options: Partial<Call> = {}): Promise<Answer> {
    const log: LogLine[] = [];
    this.log = log;
    const result = await this.instance.call({
      taskId: 'test.01J8ZQ5V7N3K4M6P8R9S0T1V2W',
      attempt: 1,
      deadlineMs: Date.now() + 120_000,
      contentType: 'application/json',
      payload: Buffer.from(JSON.stringify(event)),
      headers: {},
      http: null,
      traceparent: null,
      signal: new AbortController().signal,
      chunks: null,
      progress: () => undefined,
      log: {
        write: (line) => {
          // As a task's log does, this keeps a bounded number.
          if (log.length < 10_000) log.push(line);
        },
      },
      ...options,
    });
    if (!result.ok) return { ok: false, error: result.error, body: Buffer.alloc(0), value: undefined, log };
    const text = result.body.toString('utf8');
    const value = result.contentType === 'application/json' && result.head === undefined ? JSON.parse(text) : text;
    const streamed = result.streamed === true ? { streamed: true as const } : {};
    const head = result.head === undefined ? {} : { head: result.head };
    return { ok: true, contentType: result.contentType, body: result.body, value, log, ...streamed, ...head };
  }

  async stop(graceMs = 2000): Promise<void> {
    await this.instance.stop({ graceMs });
  }
}
