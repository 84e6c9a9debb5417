import { logEvent } from '../log/log-events.ts';
import type { Logger } from '../log/logger.ts';
import type { KeySource } from './key-source.ts';
import type { SecretStore } from './secret-store.ts';

/** Says in the log which secrets a process cannot have anything to do with, because it lacks their key. Never fails. */
export async function sayUnknownKeys(store: SecretStore, source: KeySource, logger: Logger): Promise<void> {
  try {
    const keys = source.current();
    for (const [keyId, secrets] of await store.countByKey()) {
      if (keys?.has(keyId) === true) continue;
      logEvent(logger, 'secret-keys-missing', { keyId, secrets, keys: keys?.ids ?? [] });
    }
  } catch (error) {
    logEvent(logger, 'secret-keys-unseen', { err: error });
  }
}
