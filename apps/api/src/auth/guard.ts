import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { FastifyRequest } from 'fastify';
import { type ApiKey, presentedKey } from './api-key.ts';
import { checkLoopbackAddressing, checkSameOrigin, isLoopback } from './origin.ts';
import { inNamespace, type Principal } from './principal.ts';

export interface GuardOptions {
  /** Address that the API listens on. */
  readonly host: string;
  /** Port for requests that come over no socket, as in tests. */
  readonly port: number;
  readonly key: ApiKey | null;
}

const NAMESPACE = 'default';

/** Decides for every request, before anything of it is read, whether it may come in and as whom. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #onLoopback: boolean;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#onLoopback = isLoopback(options.host);
  }

  /** @throws RequestError `FORBIDDEN`, `UNAUTHORIZED` */
  admit(request: FastifyRequest): Principal {
    const { host, origin, authorization } = request.headers;
    if (this.#onLoopback) {
      checkLoopbackAddressing({ host, origin }, request.raw.socket.localPort ?? this.#options.port);
    } else {
      checkSameOrigin({ host, origin });
    }
    return inNamespace(this.#identify(authorization), oneOf(request.headers['pilum-namespace']));
  }

  #identify(authorization: string | undefined): Principal {
    const { key } = this.#options;
    if (key === null) return { namespace: NAMESPACE, role: 'admin', keyId: 'loopback', hasKey: false };
    const presented = presentedKey(authorization);
    if (presented === null) throw new RequestError('UNAUTHORIZED');
    if (!key.matches(presented)) throw new RequestError('UNAUTHORIZED', { message: 'The API key is not valid.' });
    return { namespace: NAMESPACE, role: 'admin', keyId: 'configured', hasKey: true };
  }
}

const oneOf = (header: string | string[] | undefined) => (Array.isArray(header) ? header.join(',') : header);
