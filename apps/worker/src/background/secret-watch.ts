import { Rounds } from '@pilum/core/async/rounds.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { CHANNEL_SECRETS, parseQualifiedId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import type { Logger } from 'pino';
import type { InstancePools } from '../pool/instance-pools.ts';

/** Between two looks, ms: what a lost message delays a change by. */
const LOOK_INTERVAL_MS = 5000;

/** Stops instances whose secrets have changed since they were started: idle ones at once, others after their task. */
export class SecretWatch {
  readonly #store: SecretStore;
  readonly #pools: InstancePools;
  readonly #logger: Logger;
  readonly #rounds: Rounds;

  constructor(store: SecretStore, pools: InstancePools, logger: Logger) {
    this.#store = store;
    this.#pools = pools;
    this.#logger = logger;
    this.#rounds = new Rounds(() => this.#lookAtAll(), {
      everyMs: LOOK_INTERVAL_MS,
      onError: (error) => logEvent(logger, 'secrets-unseen', { err: error }),
    });
  }

  /** Begins to listen. */
  async open(subscriber: Subscriber): Promise<void> {
    await subscriber.subscribe(CHANNEL_SECRETS, (qualified) => {
      const { namespace, artifactId: name } = parseQualifiedId(qualified);
      this.#look(namespace, name).catch((error: unknown) =>
        logEvent(this.#logger, 'secrets-unseen', { err: error, namespace, secret: name }),
      );
    });
    this.#rounds.open();
  }

  /** Begins no further look. A look that is under way may wait for Redis, and is left to itself. */
  close(): void {
    void this.#rounds.close();
  }

  async #lookAtAll(): Promise<void> {
    for (const namespace of this.#pools.namespacesWithSecrets()) await this.#look(namespace);
  }

  /** @param name the secret that has changed; all of the namespace where it is not said */
  async #look(namespace: string, name?: string): Promise<void> {
    const held = this.#pools.secretsHeld(namespace);
    const names = name === undefined ? [...held] : [name].filter((one) => held.has(one));
    if (names.length === 0) return;
    const now = await this.#store.versions(namespace, names);
    const stopped = await this.#pools.stopOutdated(namespace, now);
    if (stopped > 0) {
      logEvent(this.#logger, 'secrets-changed', { namespace, secrets: names, instances: stopped });
    }
  }
}
