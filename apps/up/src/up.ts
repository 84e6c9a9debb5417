import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { UpOptions } from '../setup/arguments.mjs';
import { Refusal } from '../setup/refusal.mjs';
import { callToTry } from './call-to-try.ts';
import { DataDirectory } from './data-directory.ts';
import { checkRedis } from './foreign-redis.ts';
import { freePort } from './free-port.ts';
import { NodePart } from './node-part.ts';
import { RedisPart } from './redis-part.ts';
import { probeSandbox } from './sandbox-probe.ts';
import type { Screen } from './screen.ts';
import { Supervisor } from './supervisor.ts';
import { askWorkers } from './walls-line.ts';

const APPS = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Longest time that the API or a worker may take to be ready, ms. One that cannot start ends by itself: this is for one that hangs, and a
 * machine that others keep busy needs a minute and more.
 */
const START_MS = 180_000;
/** Time that a stopping part gets beyond that for its own work, ms. */
const STOP_MARGIN_MS = 5000;
const DEFAULT_DRAIN_MS = 10_000;

/** The programs of the parts, so that tests may have smaller ones. */
export interface PartPrograms {
  readonly api: string;
  readonly worker: string;
}

export const PROGRAMS: PartPrograms = {
  api: join(APPS, 'api', 'src', 'main.ts'),
  worker: join(APPS, 'worker', 'src', 'main.ts'),
};

/** The parts that run, for whoever attends to them until they end. */
export interface RunningParts {
  /** The URL of the API. */
  readonly address: string;
  readonly screen: Screen;
  /** Starts the parts of one kind again. */
  restart(kind: 'api' | 'worker'): void;
}

/** Something that goes on beside the parts from when they are ready; it ends by `signal`. */
export type Attendant = (parts: RunningParts, signal: AbortSignal) => Promise<void>;

export interface UpSignals {
  /** Stop, in order. */
  readonly stop: AbortSignal;
  /** Stop waiting for it. */
  readonly force: AbortSignal;
}

/**
 * Starts every part, keeps them running until `signals.stop`, and stops them: workers first, so that what they have
 * begun can still be answered; then the API; Redis last.
 * @throws Refusal when Pilum cannot start, or cannot go on; nothing is left running then.
 */
export async function up(
  options: UpOptions,
  environment: NodeJS.ProcessEnv,
  screen: Screen,
  signals: UpSignals,
  programs: PartPrograms,
  attend?: Attendant,
): Promise<void> {
  const data = DataDirectory.open(options.data);
  try {
    const ensemble = new Ensemble(options, environment, screen, data, programs);
    await ensemble.run(signals, attend);
  } finally {
    data.close();
  }
}

/** The parts of one `up`. */
class Ensemble {
  readonly #options: UpOptions;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #screen: Screen;
  readonly #data: DataDirectory;
  readonly #programs: PartPrograms;
  readonly #logLevel: string;
  readonly #graceMs: number;
  /** Aborted, with a Refusal that says why, when a part will not come back. */
  readonly #givenUp = new AbortController();
  #redis: Supervisor | undefined;
  #api: Supervisor | undefined;
  #workers: readonly Supervisor[] = [];

  constructor(
    options: UpOptions,
    environment: NodeJS.ProcessEnv,
    screen: Screen,
    data: DataDirectory,
    programs: PartPrograms,
  ) {
    this.#options = options;
    this.#environment = withoutNpm(environment);
    this.#screen = screen;
    this.#data = data;
    this.#programs = programs;
    // The screen is for what needs a reader; everything is one PILUM_LOG_LEVEL=info away.
    this.#logLevel = environment.PILUM_LOG_LEVEL || 'warn';
    this.#graceMs = drainMs(environment) + STOP_MARGIN_MS;
  }

  async run({ stop, force }: UpSignals, attend?: Attendant): Promise<void> {
    const halt = AbortSignal.any([stop, this.#givenUp.signal]);
    // At once, also in the middle of a start: that waits for parts which are now told to stop.
    halt.addEventListener('abort', () => void this.#stop(), { once: true });
    stop.addEventListener('abort', () => this.#screen.print('\nStopping (once more to stop at once) …'), {
      once: true,
    });
    force.addEventListener('abort', () => this.#kill(), { once: true });
    try {
      const address = await this.#start(halt);
      if (!halt.aborted) await attend?.(this.#running(address), halt);
      if (!halt.aborted) await new Promise((done) => halt.addEventListener('abort', done, { once: true }));
    } catch (error) {
      if (!halt.aborted) throw error;
    } finally {
      await this.#stop();
    }
    this.#givenUp.signal.throwIfAborted();
  }

  #running(address: string): RunningParts {
    return {
      address,
      screen: this.#screen,
      restart: (kind) => {
        for (const part of kind === 'api' ? [this.#api] : this.#workers) part?.restart();
      },
    };
  }

  /** Starts everything; gives the URL of the API. */
  async #start(signal: AbortSignal): Promise<string> {
    const { host, isolation, redisUrl, workers } = this.#options;
    for (const name of await this.#data.stopLeftovers(signal)) {
      this.#screen.status(name, 'stopped (left behind by an earlier start)', 'yellow');
    }
    const port = await freePort(host, this.#options.port);
    if (isolation === 'none') {
      this.#screen.status('sandbox', 'OFF    --isolation none: functions run WITHOUT any sandbox, as this user', 'red');
    } else await probeSandbox(this.#environment.PATH, signal);
    signal.throwIfAborted();

    const url = redisUrl === undefined ? await this.#startRedis() : await this.#greetRedis(redisUrl, signal);
    signal.throwIfAborted();

    const shared: NodeJS.ProcessEnv = {
      ...this.#environment,
      PILUM_REDIS_URL: url,
      PILUM_HOST: host,
      PILUM_PORT: String(port),
      PILUM_DATA: this.#data.path,
      PILUM_ISOLATION: isolation,
      ...this.#keysForSecrets(),
      PILUM_LOG_LEVEL: this.#logLevel,
    };
    const address = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
    this.#api = this.#supervise('api', this.#programs.api, shared, address);
    this.#workers = Array.from({ length: workers }, (_, index) =>
      this.#supervise(`worker-${index + 1}`, this.#programs.worker, {
        ...shared,
        ...workerId(this.#environment.PILUM_WORKER_ID, workers, index),
      }),
    );
    // Neither needs the other to start.
    const ready = await Promise.all([this.#api, ...this.#workers].map((supervisor) => supervisor.start()));
    if (ready.every(Boolean)) {
      const { walls, interpreters } = await askWorkers(address, this.#environment.PILUM_API_KEY, signal);
      if (interpreters !== null && !signal.aborted) this.#screen.status('runs', interpreters);
      if (walls !== null && !signal.aborted) this.#screen.status('walls', walls, 'yellow');
      this.#screen.print(callToTry(address, Boolean(this.#environment.PILUM_API_KEY)));
    }
    return address;
  }

  /** Returns the variables that name the keys for secrets: those of the operator, or else the file in the data directory. */
  #keysForSecrets(): NodeJS.ProcessEnv {
    const { PILUM_SECRETS_KEY, PILUM_SECRETS_KEY_FILE } = this.#environment;
    if (PILUM_SECRETS_KEY || PILUM_SECRETS_KEY_FILE) return {};
    return { PILUM_SECRETS_KEY_FILE: this.#data.secretsKeyFile() };
  }

  async #startRedis(): Promise<string> {
    const part = new RedisPart({
      data: this.#data,
      environment: this.#environment,
      logLevel: this.#logLevel,
      onLine: (line) => this.#screen.log('redis', line),
      onLoading: () => this.#screen.status('redis', 'loading what it has kept …', 'yellow'),
    });
    this.#redis = new Supervisor(part, this.#events());
    await this.#redis.start();
    return part.url;
  }

  async #greetRedis(url: string, signal: AbortSignal): Promise<string> {
    for (const warning of await checkRedis(url, this.#environment, signal)) {
      this.#screen.status('redis', warning, 'yellow');
    }
    this.#screen.status('redis', `ready  ${withoutPassword(url)}`);
    return url;
  }

  #supervise(name: string, main: string, environment: NodeJS.ProcessEnv, address?: string): Supervisor {
    const part = new NodePart({
      name,
      main,
      environment,
      address,
      graceMs: this.#graceMs,
      startMs: START_MS,
      onLine: (line) => this.#screen.log(name, line),
      record: this.#data.recordOf(name),
    });
    return new Supervisor(part, this.#events());
  }

  #events() {
    return {
      onReady: ({ name, address }: { name: string; address?: string }) =>
        this.#screen.status(name, `ready  ${address ?? ''}`),
      onLost: ({ name }: { name: string }, how: string, delayMs: number) =>
        this.#screen.status(name, `ended (${how}); starting it again in ${delayMs} ms`, 'yellow'),
      onGivenUp: (_part: unknown, sentence: string) => this.#givenUp.abort(new Refusal(sentence)),
    };
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#api?.stop();
    await this.#redis?.stop();
  }

  #kill(): void {
    for (const part of [...this.#workers, this.#api, this.#redis]) part?.kill();
  }
}

/** Takes out what npm sets for its scripts: that is no business of the parts, and less so of the functions they run. */
function withoutNpm(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^npm_|^(INIT_CWD|NODE_CHANNEL_.*)$/.test(name)),
  );
}

/** Two workers of one name would take each other's place. */
function workerId(given: string | undefined, workers: number, index: number): NodeJS.ProcessEnv {
  return given && workers > 1 ? { PILUM_WORKER_ID: `${given}-${index + 1}` } : {};
}

/** The parts check the value; until then any number will do. */
function drainMs({ PILUM_DRAIN_MS }: NodeJS.ProcessEnv): number {
  const value = Number(PILUM_DRAIN_MS || Number.NaN);
  return value >= 0 ? value : DEFAULT_DRAIN_MS;
}

function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/)[^/]*@/, '$1');
}
