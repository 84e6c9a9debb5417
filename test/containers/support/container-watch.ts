import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { History } from '../../chaos/history/history.ts';
import { statementOf } from '../../chaos/parts/statements.ts';
import { launch } from '../../support/launch.ts';
import type { ComposeProject } from './compose-project.ts';

/**
 * Reads along what the workers and the API of a project print, and how they end, into a history: from the moment in
 * which a container starts, for one that is replaced leaves nothing behind.
 */
export class ContainerWatch {
  readonly #history: History;
  readonly #events: ChildProcess;
  readonly #followers = new Set<Promise<unknown>>();
  readonly #killed = new Set<string>();

  private constructor(project: ComposeProject, history: History) {
    this.#history = history;
    const filters = [`label=com.docker.compose.project=${project.name}`, 'type=container', 'event=start', 'event=die'];
    this.#events = launch(
      'docker',
      ['events', ...filters.flatMap((one) => ['--filter', one]), '--format', '{{json .}}'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    createInterface({ input: this.#events.stdout as Readable }).on('line', (line) => this.#hear(JSON.parse(line)));
  }

  static async open(project: ComposeProject, history: History): Promise<ContainerWatch> {
    const watch = new ContainerWatch(project, history);
    for (const { id, service } of await project.containers()) watch.#follow(id, service, []);
    return watch;
  }

  /** Says of a container that it is about to be killed: its end is no surprise then. */
  expectKill(id: string): void {
    this.#killed.add(id);
  }

  /** Resolves when all that was printed has been read: the containers have to be stopped before. */
  async close(): Promise<void> {
    const ended = once(this.#events, 'exit');
    this.#events.kill('SIGTERM');
    await ended;
    await Promise.all(this.#followers);
  }

  #hear(event: EngineEvent): void {
    const { id, Action, timeNano, Actor } = event;
    const service = Actor.Attributes['com.docker.compose.service'] ?? '';
    // From this start on: what it printed before, another follower has read.
    if (Action === 'start') this.#follow(id, service, ['--since', (timeNano / 1e9 - 1).toFixed(3)]);
    if (Action !== 'die' || service === 'redis') return;
    const asked = this.#killed.delete(id) ? 'kill' : 'stop';
    const code = Actor.Attributes.exitCode ?? 'unknown';
    const how = code === '137' ? 'SIGKILL' : code;
    this.#history.write({ type: 'exit', at: timeNano / 1e6, part: `${service} ${id.slice(0, 12)}`, how, asked });
  }

  #follow(id: string, service: string, since: readonly string[]): void {
    if (service === 'redis') return;
    const child = launch('docker', ['logs', '--follow', ...since, id], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream as Readable }).on('line', (line) => {
        const said = statementOf(id.slice(0, 12), line);
        if (said !== null) this.#history.write(said);
      });
    }
    this.#followers.add(once(child, 'close'));
  }
}

interface EngineEvent {
  readonly id: string;
  readonly Action: string;
  readonly timeNano: number;
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> };
}
