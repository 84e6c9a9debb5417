import type { Part, PartRun } from './part.ts';
import { PartProcess } from './part-process.ts';
import type { ProcessRecord } from './process-record.ts';

/** The message by which a part says that it can be used. */
const READY = 'ready';

export interface NodePartOptions {
  readonly name: string;
  readonly address?: string;
  /** The program, a TypeScript file. */
  readonly main: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly graceMs: number;
  /** Longest time that it may take to be ready, ms. */
  readonly startMs: number;
  readonly onLine: (line: string) => void;
  readonly record: ProcessRecord;
}

/** A part that is a program of ours: the API or a worker. It runs on the Node that we run on. */
export class NodePart implements Part {
  readonly name: string;
  readonly address: string | undefined;
  readonly graceMs: number;
  readonly #options: NodePartOptions;

  constructor(options: NodePartOptions) {
    this.name = options.name;
    this.address = options.address;
    this.graceMs = options.graceMs;
    this.#options = options;
  }

  launch(): PartRun {
    const { main, environment, startMs, onLine, record } = this.#options;
    const part = new PartProcess({
      command: process.execPath,
      args: [main],
      env: environment,
      ipc: true,
      onLine,
      record,
    });
    const ready = new Promise<void>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`not ready after ${startMs / 1000} s`)), startMs);
      part.onMessage((message) => {
        if (message !== READY) return;
        clearTimeout(timer);
        done();
      });
      void part.ended.then(() => clearTimeout(timer));
    });
    return { process: part, ready };
  }
}
