import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { FastifyRequest } from 'fastify';
import { type ApiKey, presentedKey } from './api-key.ts';
import { Front, loopbackNames } from './front.ts';
import { checkHost, fromElsewhere, isFromElsewhere, isLoopback, isNavigation } from './origin.ts';
import { inNamespace, type Principal } from './principal.ts';

export interface GuardOptions {
  /** Address that the API listens on. */
  readonly host: string;
  /** Port for requests that come over no socket, as in tests. */
  readonly port: number;
  readonly key: ApiKey | null;
  /** What stands between callers and this process; nothing by default. */
  readonly front?: Front;
}

export const DEFAULT_NAMESPACE = 'default';

/** What is known of a request from its head. */
export interface Look {
  /** Who makes the call; the refusal where it has not said so. */
  readonly caller: Principal | RequestError;
  /** A page of another origin has a browser make it. */
  readonly isFromElsewhere: boolean;
}

/** Decides for every request, before anything of it is read, whether it may come in and as whom. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #front: Front;
  readonly #needsOurHost: boolean;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#front = options.front ?? new Front();
    this.#needsOurHost = options.key === null && isLoopback(options.host);
  }

  /** @throws RequestError `FORBIDDEN` where it is not meant for us */
  look(request: FastifyRequest): Look {
    const { headers, raw } = request;
    if (this.#needsOurHost && this.#front.functionOf(raw) === null) checkHost(headers.host, this.#names(request));
    return {
      caller: this.#identify(headers.authorization),
      isFromElsewhere: isFromElsewhere(headers, (origin) => this.#isOurs(origin, request)),
    };
  }

  /**
   * Admits what is no call of a function as a web endpoint, or is one that its artifact has no say in.
   * @throws RequestError `FORBIDDEN`, `UNAUTHORIZED`
   */
  admit(request: FastifyRequest, { caller, isFromElsewhere }: Look, isPage: boolean): Principal {
    const { headers, method } = request;
    if (isFromElsewhere && !(isPage && isNavigation(method, headers))) throw fromElsewhere(headers);
    if (caller instanceof RequestError) throw caller;
    return inNamespace(caller, oneOf(headers['pilum-namespace']));
  }

  #identify(authorization: string | undefined): Principal | RequestError {
    const { key } = this.#options;
    if (key === null) return { namespace: DEFAULT_NAMESPACE, role: 'admin', keyId: 'loopback', hasKey: false };
    const presented = presentedKey(authorization);
    if (presented === null) return new RequestError('UNAUTHORIZED');
    if (!key.matches(presented)) return new RequestError('UNAUTHORIZED', { message: 'The API key is not valid.' });
    return { namespace: DEFAULT_NAMESPACE, role: 'admin', keyId: 'configured', hasKey: true };
  }

  /** Names by which we may be reached without a key. */
  #names(request: FastifyRequest): readonly string[] {
    const names = loopbackNames(request.raw.socket.localPort ?? this.#options.port);
    const known = this.#front.publicUrl;
    return known === null ? names : [...names, known.host];
  }

  #isOurs(origin: string, request: FastifyRequest): boolean {
    const url = URL.parse(origin);
    if (url === null || origin === 'null') return false;
    if (url.origin === this.#front.publicUrl?.origin) return true;
    const { host, 'sec-fetch-site': site } = request.headers;
    if (this.#needsOurHost && this.#front.functionOf(request.raw) === null) {
      return url.protocol === 'http:' && this.#names(request).includes(url.host);
    }
    // A browser compares the names that both have for it, whatever a proxy makes of the one that we see.
    if (site === 'same-origin') return true;
    return [host, this.#front.seen(request.raw).host].some((name) => url.host === name?.toLowerCase());
  }
}

const oneOf = (header: string | string[] | undefined) => (Array.isArray(header) ? header.join(',') : header);
