/** Reason why there is no connection to Redis, in words for whoever has configured it. */
export interface ConnectionProblem {
  readonly sentence: string;
  /** True where it does not get better by waiting. */
  readonly isFinal: boolean;
}

interface Rule {
  readonly pattern: RegExp;
  readonly what: string;
}

/** Problems that do not get better by waiting, by the code or the words of the error. */
const FINAL: readonly Rule[] = [
  { pattern: /\bREADONLY\b/, what: 'is a replica and takes no writes: let PILUM_REDIS_URL name the primary' },
  {
    pattern: /\bWRONGPASS\b|invalid (?:username-)?password/i,
    what: 'refuses user and password: check them in PILUM_REDIS_URL',
  },
  {
    pattern: /\bNOAUTH\b/,
    what: 'wants a password: PILUM_REDIS_URL has none, or one without its user (redis://user:password@host)',
  },
  {
    pattern: /DB index is out of range|invalid DB index/i,
    what: 'does not have the database that PILUM_REDIS_URL names',
  },
  {
    pattern: /CERTIFICATE_REQUIRED|certificate required|BAD_CERTIFICATE|ALERT_UNKNOWN_CA/i,
    what: 'wants a certificate of Pilum that it trusts: name it with PILUM_REDIS_CERT_FILE and PILUM_REDIS_KEY_FILE',
  },
  {
    pattern:
      /SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|self[- ]signed certificate|unable to (?:get|verify)/i,
    what: 'has a certificate of an authority that is not known here: name its file with PILUM_REDIS_CA_FILE',
  },
  {
    pattern: /ERR_TLS_CERT_ALTNAME_INVALID/,
    what: 'has a certificate for another name than the host of PILUM_REDIS_URL',
  },
  { pattern: /CERT_HAS_EXPIRED|certificate has expired/i, what: 'has a certificate that has expired' },
  {
    pattern: /wrong version number|packet length too long|ERR_SSL_|EPROTO|SSL routines/i,
    what: 'does not speak TLS: write redis:// in place of rediss://, or name its port for TLS',
  },
  {
    pattern: /Unknown RESP type|Protocol error, got|ParserError/i,
    what: 'is something else that listens there, and no Redis: check host and port in PILUM_REDIS_URL',
  },
];

/**
 * Explains an error of a connection.
 * @param isTls whether TLS is spoken
 */
export function connectionProblem(error: Error, isTls: boolean): ConnectionProblem {
  const said = error.message || (error as NodeJS.ErrnoException).code || error.name;
  const words = `${(error as NodeJS.ErrnoException).code ?? ''} ${error.name} ${said}`;
  const rule = FINAL.find(({ pattern }) => pattern.test(words));
  if (rule !== undefined) return { sentence: `${rule.what} (${said})`, isFinal: true };
  if (/ECONNRESET|EPIPE|Connection is closed|socket closed/i.test(words) && !isTls) {
    return { sentence: `closes each connection: where it speaks TLS, write rediss:// (${said})`, isFinal: false };
  }
  return { sentence: `does not answer (${said})`, isFinal: false };
}
