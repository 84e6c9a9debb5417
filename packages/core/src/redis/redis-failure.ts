import { type ErrorOptions, PilumError, SystemError } from '../errors/pilum-error.ts';

/** Messages of a connection that is lost, or cannot be made. */
const CONNECTION_FAILURES =
  /Command timed out|Command aborted|Connection is closed|Socket (?:timeout|closed)|max retries|\b(?:ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EAGAIN|ENOENT|EPIPE)\b/i;

/** Failures of a Redis that is there and cannot serve, by the first word of its answer. */
const REFUSALS: Readonly<Record<string, Pick<ErrorOptions, 'message' | 'hint'>>> = {
  OOM: {
    message: 'Redis is out of memory (OOM) and takes no writes; nothing was stored. What is stored can be read.',
    hint:
      'Operator: raise its maxmemory, keep fewer outcomes (PILUM_TASK_RETENTION_S, PILUM_TASK_RETENTION_COUNT), or ' +
      'delete artifacts that are not needed.',
  },
  LOADING: {
    message: 'Redis has just started and is reading its data (LOADING).',
    hint: 'Repeat the request in some seconds.',
  },
  READONLY: {
    message: 'This Redis is a replica and takes no writes (READONLY).',
    hint: 'Operator: let PILUM_REDIS_URL name the primary.',
  },
  MASTERDOWN: {
    message: 'This Redis is a replica that has lost its primary (MASTERDOWN).',
    hint: 'Operator: let PILUM_REDIS_URL name the primary.',
  },
  MISCONF: {
    message: 'Redis cannot write to its disk and so takes no writes (MISCONF).',
    hint: 'Operator: make room on the disk of Redis; its log says what failed.',
  },
  NOREPLICAS: {
    message: 'Redis has fewer replicas than it needs to take writes (NOREPLICAS).',
    hint: 'Operator: bring its replicas back, or lower its min-replicas-to-write.',
  },
  BUSY: {
    message: 'Redis is held up by a script that does not end (BUSY).',
    hint: 'Operator: end the script with SCRIPT KILL; no script of Pilum runs for long.',
  },
  TRYAGAIN: {
    message: 'What was to be stored had expired on its way to Redis (TRYAGAIN); nothing was stored.',
    hint: 'Repeat the request.',
  },
  NOAUTH: credentials('NOAUTH'),
  WRONGPASS: credentials('WRONGPASS'),
};

function credentials(word: string) {
  return {
    message: `Redis does not let Pilum in (${word}).`,
    hint: 'Operator: check user and password in PILUM_REDIS_URL, and the rights of that user in Redis.',
  };
}

/**
 * Translates a failed Redis command for a caller: `REDIS_UNAVAILABLE` for a lost or silent connection and for a Redis
 * that cannot serve, with what its operator should do; any other error as it is.
 */
export function redisFailure(error: unknown): unknown {
  if (error instanceof PilumError || !(error instanceof Error)) return error;
  const { message } = error;
  if (/\bNOPERM\b/.test(message)) return forbidden(error);
  const refusal = Object.hasOwn(REFUSALS, firstWord(message))
    ? REFUSALS[firstWord(message)]
    : // Said by a script that ran into it, in an older Redis.
      / -?OOM /.test(message)
      ? REFUSALS.OOM
      : undefined;
  if (refusal !== undefined) return new SystemError('REDIS_UNAVAILABLE', { ...refusal, cause: error });
  if (CONNECTION_FAILURES.test(message)) return new SystemError('REDIS_UNAVAILABLE', { cause: error });
  return error;
}

/** A right that is missing: Redis's own words name the command, key or channel. */
function forbidden(error: Error): SystemError {
  const command = /'([^']+)' command/.exec(error.message)?.[1];
  return new SystemError('REDIS_UNAVAILABLE', {
    message:
      command === undefined
        ? 'Redis does not let the user of Pilum do what is needed (NOPERM).'
        : `Redis does not let the user of Pilum run the command ${command.toUpperCase()} (NOPERM).`,
    hint:
      command === undefined
        ? 'Operator: give that user the keys ~{pilum* and the channels &pilum:* (ACL SETUSER).'
        : `Operator: ACL SETUSER <user> +${command.toLowerCase()}.`,
    cause: error,
  });
}

const firstWord = (message: string) => message.split(' ', 1)[0] ?? '';
