import type { Duplex, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { abortable } from '@pilum/core/async/abortable.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type Docker from 'dockerode';
import type { Logger } from 'pino';
import type { ExitStatus } from '../contract/ending.ts';
import { exitStatusOf } from '../contract/launched-process.ts';
import { findFreezerFile, writeFreezer } from './container-freezer.ts';
import { type ContainerPlan, createOptions } from './container-plan.ts';
import { answered, isAway, ping, saidBy, statusOf } from './engine.ts';

/** The pause between two tries at an Engine that does not answer, ms. */
const TRY_AGAIN_MS = 200;
/** The time that the end of a container is waited for while the Engine does not answer, ms. */
const GIVE_UP_MS = 10_000;

const NOT_FOUND = 404;
const CONFLICT = 409;
const SERVER_ERROR = 500;

/** The end of one of which the Engine knows nothing any more, or says nothing. */
const LOST: ExitStatus = { exitCode: null, signal: null, isLost: true };

export interface ContainerDeps {
  readonly engine: Docker;
  /** Takes the id of a container that could not be ended or removed, since the Engine does not answer. */
  readonly onLeft: (containerId: string) => void;
  readonly logger: Logger;
}

/**
 * A container, from its creation to its removal:
 *
 *     created → started ⇄ paused → exited → removed
 */
export class Container {
  readonly id: string;
  readonly #deps: ContainerDeps;
  readonly #container: Docker.Container;
  readonly #exited = Promise.withResolvers<ExitStatus>();
  #hasExited = false;
  #lookout: NodeJS.Timeout | undefined;
  /** Pauses and what follows them go one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #isPaused = false;
  /** The file by which it is frozen without the Engine; null without one, and undefined before it was looked for. */
  #freezerFile: string | null | undefined;
  #isFrozen = false;

  private constructor(deps: ContainerDeps, container: Docker.Container) {
    this.#deps = deps;
    this.#container = container;
    this.id = container.id;
  }

  /**
   * @param signal gives up waiting for the Engine; what it makes all the same is removed
   * @throws whatever the client throws; the signal's reason
   */
  static async create(deps: ContainerDeps, plan: ContainerPlan, signal: AbortSignal): Promise<Container> {
    const creating = deps.engine.createContainer(createOptions(plan));
    try {
      return new Container(deps, await abortable(creating, signal));
    } catch (error) {
      creating.then((container) => new Container(deps, container).remove()).catch(() => undefined);
      throw error;
    }
  }

  /** Resolves once, when all of its processes have ended; only after {@link start}. */
  get exited(): Promise<ExitStatus> {
    return this.#exited.promise;
  }

  /**
   * A stream to its stdin and from its stdout and stderr; to be asked for before the start, so that nothing is missed.
   * @throws whatever the client throws
   */
  async attach(): Promise<Duplex> {
    const stream = await this.#container.attach({
      stream: true,
      stdin: true,
      stdout: true,
      stderr: true,
      // The bare connection: only that can be closed in one direction.
      hijack: true,
    });
    return stream as Duplex;
  }

  /**
   * @param signal gives up waiting for the Engine
   * @throws whatever the client throws; the signal's reason; then it is to be removed
   */
  async start(signal: AbortSignal): Promise<void> {
    const starting = this.#container.start();
    try {
      await abortable(starting, signal);
    } catch (error) {
      // The container may begin a moment after it was removed in vain.
      if (signal.aborted) starting.then(() => this.remove()).catch(() => undefined);
      throw error;
    }
    this.#watch().then(
      (status) => this.#end(status),
      (error: unknown) => {
        logEvent(this.#deps.logger, 'container-end-unread', { err: error, container: this.id });
        this.#end(LOST);
      },
    );
  }

  /** Tells whether the container has something under a path. @throws whatever the client throws */
  async has(path: string): Promise<boolean> {
    try {
      await answered(this.#container.infoArchive({ path }));
      return true;
    } catch (error) {
      if (statusOf(error) === NOT_FOUND) return false;
      throw error;
    }
  }

  /** Takes note that the container ended before it began: the Engine could not start it. */
  endedAtStart(status: ExitStatus): void {
    this.#end(status);
  }

  /** Something says that it has ended, or must end: where the Engine does not answer, that is not waited for without end. */
  expectEnd(): void {
    if (this.#hasExited || this.#lookout !== undefined) return;
    this.#lookout = setTimeout(() => {
      ping(this.#deps.engine).then(
        () => {
          this.#lookout = undefined;
          this.expectEnd();
        },
        () => {
          if (this.#hasExited) return;
          this.#deps.onLeft(this.id);
          this.#end(LOST);
        },
      );
    }, GIVE_UP_MS);
  }

  /** Sends a signal to its command, however long the Engine does not answer. */
  async signal(name: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (name === 'SIGKILL') this.expectEnd();
    while (!this.#hasExited) {
      try {
        await this.resume();
        await this.#container.kill({ signal: name });
        return;
      } catch (error) {
        // The container has ended, or is not there any more; all else is the Engine's trouble, and passes.
        if (!isAway(error) && (statusOf(error) ?? 0) < SERVER_ERROR) return;
        await sleep(TRY_AGAIN_MS);
      }
    }
  }

  /** Whether it can be frozen without the Engine; null where nobody has tried. */
  get canFreeze(): boolean | null {
    return this.#freezerFile === undefined ? null : this.#freezerFile !== null;
  }

  /**
   * Stops its processes where they are, without the Engine.
   * @returns false where that cannot be done on this machine; `pause` may be able to
   */
  async freeze(): Promise<boolean> {
    return await this.#inTurn(async () => {
      if (this.#hasExited) return false;
      try {
        if (this.#freezerFile === undefined) this.#freezerFile = await findFreezerFile(this.#container);
        if (this.#freezerFile === null) return false;
        writeFreezer(this.#freezerFile, true);
        this.#isFrozen = true;
      } catch (error) {
        logEvent(this.#deps.logger, 'container-not-paused', { container: this.id, said: saidBy(error) });
      }
      return this.#isFrozen;
    });
  }

  /** Stops its processes where they are. @returns false where that could not be done */
  async pause(): Promise<boolean> {
    return await this.#inTurn(async () => {
      if (this.#isPaused || this.#hasExited) return this.#isPaused;
      try {
        await this.#container.pause();
        this.#isPaused = true;
      } catch (error) {
        logEvent(this.#deps.logger, 'container-not-paused', { container: this.id, said: saidBy(error) });
      }
      return this.#isPaused;
    });
  }

  /** Lets its processes go on, where they are frozen or paused. @throws whatever the client throws */
  async resume(): Promise<void> {
    await this.#inTurn(async () => {
      this.#thaw();
      if (!this.#isPaused) return;
      try {
        await this.#container.unpause();
      } catch (error) {
        if (isAway(error)) throw error;
        // The container is not paused any more, whoever did it, or has ended.
      }
      this.#isPaused = false;
    });
  }

  /** Tells, after the container's end, whether the kernel has killed one of its processes for lack of memory. */
  async ranOutOfMemory(): Promise<boolean> {
    try {
      const { State } = await answered(this.#container.inspect());
      return State.OOMKilled;
    } catch {
      return false;
    }
  }

  /** Removes it with whatever still runs in it. Never fails: what could not be done is left to whoever is told of it. */
  async remove(): Promise<void> {
    try {
      await removeContainer(this.#deps.engine, this.id);
    } catch (error) {
      logEvent(this.#deps.logger, 'container-not-removed', { container: this.id, said: saidBy(error) });
      this.#deps.onLeft(this.id);
    }
  }

  async #watch(): Promise<ExitStatus> {
    let wasAway = false;
    while (!this.#hasExited) {
      try {
        const status = exitStatusOf(await waitFor(this.#deps.engine, this.id));
        // An Engine that is started again ends what it finds.
        return wasAway && status.signal !== null ? { ...status, isLost: true } : status;
      } catch (error) {
        if (statusOf(error) === NOT_FOUND) return LOST;
        wasAway = true;
        await sleep(TRY_AGAIN_MS);
      }
    }
    return LOST;
  }

  #end(status: ExitStatus): void {
    clearTimeout(this.#lookout);
    this.#hasExited = true;
    this.#exited.resolve(status);
  }

  #thaw(): void {
    if (!this.#isFrozen || typeof this.#freezerFile !== 'string') return;
    this.#isFrozen = false;
    try {
      writeFreezer(this.#freezerFile, false);
    } catch (error) {
      // It has ended, and its cgroup with it: whoever waits for it hears of that.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENODEV') throw error;
    }
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

/**
 * The exit code of a container when it has ended. The Engine begins its answer at once and ends it then; the library's own
 * `wait` would never hear of it that the connection broke in between.
 * @throws whatever the client throws, and where the connection broke
 */
async function waitFor(engine: Docker, id: string): Promise<number> {
  const answer = await new Promise<Readable>((resolve, reject) => {
    engine.modem.dial(
      {
        path: `/containers/${id}/wait?condition=not-running`,
        method: 'POST',
        isStream: true,
        statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
      },
      (error: unknown, stream: unknown) => {
        if (error === null || error === undefined) resolve(stream as Readable);
        else reject(error);
      },
    );
  });
  return (JSON.parse(await text(answer)) as { StatusCode: number }).StatusCode;
}

/**
 * Ends and removes a container with its anonymous volumes; one that is not there is removed.
 * @throws whatever the client throws else
 */
export async function removeContainer(engine: Docker, id: string): Promise<void> {
  try {
    await answered(engine.getContainer(id).remove({ force: true, v: true }));
  } catch (error) {
    const status = statusOf(error);
    // The container is gone, or another call is removing it.
    if (status !== NOT_FOUND && status !== CONFLICT) throw error;
  }
}
