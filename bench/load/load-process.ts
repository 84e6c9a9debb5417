import { type BenchProcess, startProcess } from '../support/bench-process.ts';
import type { Scope } from '../support/scope.ts';
import type { LoadAnswer, LoadPlan, LoadRequest, Sample } from './plan.ts';

/** A process of its own that calls: what it costs shows in nobody's figures but as a process beside them. */
export class LoadProcess {
  readonly #process: BenchProcess;
  readonly #asked = new Map<number, PromiseWithResolvers<Sample>>();
  #lastId = 0;

  private constructor(process: BenchProcess) {
    this.#process = process;
    process.child.on('message', (answer: LoadAnswer) => {
      const asked = this.#asked.get(answer.id);
      this.#asked.delete(answer.id);
      if ('sample' in answer) asked?.resolve(answer.sample);
      else asked?.reject(new Error(answer.error));
    });
  }

  static async start(scope: Scope): Promise<LoadProcess> {
    const module = new URL('./main.ts', import.meta.url);
    return new LoadProcess(await startProcess(scope, { name: 'the load process', module, env: {} }));
  }

  /** @throws Error where an answer was not as it should be */
  run(plan: LoadPlan): Promise<Sample> {
    const id = ++this.#lastId;
    const asked = Promise.withResolvers<Sample>();
    this.#asked.set(id, asked);
    this.#process.child.send({ id, plan } satisfies LoadRequest);
    return asked.promise;
  }
}
