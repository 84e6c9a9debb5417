import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { ConfigurationError } from '../errors/pilum-error.ts';
import { type LogOf, logEvent } from '../log/log-events.ts';
import { connectionProblem } from './connection-problem.ts';
import { checkRedis, type RedisFindings } from './redis-check.ts';
import { speaksPlain } from './speaks-plain.ts';

/** Between two tries to look at a Redis that does not answer, ms. */
const RETRY_MS = 1000;

export interface RedisWatchOptions {
  /** A Redis that may throw keys away is used all the same. */
  readonly allowEviction: boolean;
  readonly isTls: boolean;
  readonly log: LogOf<'warn' | 'error'>;
}

/**
 * Knows whether the Redis of a connection can keep what Pilum promises. It is looked at before the process starts to work, and again each
 * time the connection is made anew: it may lead to another Redis then.
 */
export class RedisWatch {
  readonly #redis: Redis;
  readonly #options: RedisWatchOptions;
  readonly #onReady = () => void this.#lookAgain();
  readonly #onError = (error: Error) => {
    // A replica is left before it could be looked at; and of a password or a certificate only the connection speaks.
    const { sentence, isFinal } = connectionProblem(error, this.#options.isTls);
    if (isFinal) this.#take({ problems: [sentence], warnings: [] });
  };
  #findings: RedisFindings = { problems: [], warnings: [] };
  #isOpen = false;

  /** @param redis stays its owner's to close */
  constructor(redis: Redis, options: RedisWatchOptions) {
    this.#redis = redis;
    this.#options = options;
  }

  /** Reasons why Pilum's promises cannot be kept at the moment; empty where they can. */
  get problems(): readonly string[] {
    return this.#findings.problems;
  }

  /**
   * Waits until Redis answers, for as long as it takes, and looks at it.
   * @throws ConfigurationError `CONFIGURATION_INVALID` where it cannot be used, and waiting would not help
   */
  async meet(signal?: AbortSignal): Promise<void> {
    let lastError: Error | null = null;
    const onError = (error: Error) => {
      lastError = error;
    };
    const onConnect = () => {
      lastError = null;
    };
    // Errors of the connection say more than those of commands, which may just be told that it is closed.
    this.#redis.on('error', onError);
    this.#redis.on('connect', onConnect);
    // On a busy machine it may take longer than a turn of this loop: it is begun anew only where it has failed.
    let checking: Promise<RedisFindings | Error> | null = null;
    try {
      for (;;) {
        checking ??= checkRedis(this.#redis, this.#options).catch((error: Error) => error);
        const trying = new AbortController();
        const stop = signal === undefined ? trying.signal : AbortSignal.any([trying.signal, signal]);
        const found = await Promise.race([checking, sleep(RETRY_MS, null, { signal: stop }).catch(() => null)]);
        trying.abort();
        if (found instanceof Error) checking = null;
        signal?.throwIfAborted();
        if (found !== null && !(found instanceof Error)) {
          // Problems are thrown here, and so said once.
          this.#take({ problems: [], warnings: found.warnings });
          if (found.problems.length > 0) throw unusable(found.problems);
          // It answers, from another database than the one that was named.
          const said = lastError === null ? null : connectionProblem(lastError, this.#options.isTls);
          if (said?.isFinal) throw unusable([said.sentence]);
          return;
        }
        const error = lastError ?? found;
        if (error === null) {
          if (await this.#isPlain())
            throw unusable(['does not speak TLS: write redis:// in place of rediss://, or name its port for TLS']);
          continue;
        }
        const { sentence, isFinal } = connectionProblem(error, this.#options.isTls);
        if (isFinal) throw unusable([sentence]);
        logEvent(this.#options.log, 'redis-awaited', { err: error }, `waiting for Redis, which ${sentence}`);
        if (found instanceof Error) await sleep(RETRY_MS, undefined, { ...(signal === undefined ? {} : { signal }) });
      }
    } finally {
      this.#redis.off('error', onError);
      this.#redis.off('connect', onConnect);
    }
  }

  /** Whether TLS is spoken to a Redis that does not; it answers nothing then. */
  async #isPlain(): Promise<boolean> {
    const { host, port } = this.#redis.options;
    if (!this.#options.isTls || host === undefined || port === undefined) return false;
    return await speaksPlain(host, port);
  }

  /** Looks again from now on at each new connection. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#redis.on('ready', this.#onReady);
    this.#redis.on('error', this.#onError);
  }

  /** Ends it. May be called again. */
  close(): void {
    this.#isOpen = false;
    this.#redis.off('ready', this.#onReady);
    this.#redis.off('error', this.#onError);
  }

  async #lookAgain(): Promise<void> {
    try {
      this.#take(await checkRedis(this.#redis, this.#options));
    } catch {
      // It has gone again, and is looked at when it is back.
    }
  }

  #take(findings: RedisFindings): void {
    const before = this.#findings;
    this.#findings = findings;
    const { log } = this.#options;
    for (const warning of findings.warnings)
      if (!before.warnings.includes(warning)) logEvent(log, 'redis-warning', {}, `Redis ${warning}`);
    for (const problem of findings.problems) {
      if (!before.problems.includes(problem))
        logEvent(log, 'redis-refused', {}, `Redis ${problem}; until then /readyz says that this process is not ready`);
    }
  }
}

function unusable(problems: readonly string[]): ConfigurationError {
  return new ConfigurationError('CONFIGURATION_INVALID', {
    message: `Redis cannot be used: it ${problems.join('; it ')}.`,
    details: { problems: problems.map((what) => ({ where: 'Redis', what })) },
  });
}
