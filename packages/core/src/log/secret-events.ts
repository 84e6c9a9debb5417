import type { LogEvent } from './log-events.ts';

/** The lines about secrets and their keys, which are a part of the table of all lines. */
export const SECRET_EVENTS = {
  'secret-keys-unread': {
    level: 'error',
    says: 'the changed file of keys for secrets could not be read; the keys before it stay in use',
    act: 'Mend the file that `PILUM_SECRETS_KEY_FILE` names; it is read again when a key is needed.',
  },
  'secret-keys-missing': {
    level: 'error',
    says: 'secrets are encrypted with a key that this process does not have; functions that use them are not deployed or started here',
    act: 'Add the key to `PILUM_SECRETS_KEY_FILE` of this process, or set the secrets again.',
  },
  'secret-keys-unseen': {
    level: 'warn',
    says: 'the keys of the secrets were not looked at; a missing one shows at its first use',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'secrets-unseen': {
    level: 'warn',
    says: 'changed secrets were not looked for; they are looked for again',
    act: 'Nothing, if Redis was away for a moment.',
  },
  'secrets-changed': {
    level: 'info',
    says: 'instances with secrets that have changed are stopped',
    act: 'Nothing.',
  },
  'secrets-not-removed': {
    level: 'warn',
    says: 'the secrets of a container that has ended could not be removed from memory; they go with this worker',
    act: 'Look at the rights of /dev/shm.',
  },
} as const satisfies Readonly<Record<string, LogEvent>>;
