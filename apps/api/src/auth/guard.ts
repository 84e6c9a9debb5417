import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { FastifyRequest } from 'fastify';
import { type ApiKey, presentedKey } from './api-key.ts';
import { Front, loopbackNames } from './front.ts';
import { checkHost, fromElsewhere, isFromElsewhere, isLoopback, isNavigation } from './origin.ts';
import { inNamespace, type Principal } from './principal.ts';

export interface GuardOptions {
  /** The address that the API listens on. */
  readonly host: string;
  /** The port to assume for requests without a socket, as in tests. */
  readonly port: number;
  readonly key: ApiKey | null;
  /** Proxies and host names before this process; none by default. */
  readonly front?: Front;
}

export const DEFAULT_NAMESPACE = 'default';

/** The caller and the origin of a request, as its head tells them. */
export interface Look {
  /** The caller, or the refusal of a request without a valid key. */
  readonly caller: Principal | RequestError;
  /** Whether a page of another origin has made a browser send the request. */
  readonly isFromElsewhere: boolean;
}

/** Decides from the head of a request whether it may come in, and who its caller is. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #front: Front;
  readonly #needsOurHost: boolean;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#front = options.front ?? new Front();
    this.#needsOurHost = options.key === null && isLoopback(options.host);
  }

  /**
   * Reads the caller and the origin of a request.
   * @throws RequestError `FORBIDDEN` if its Host header names another server
   */
  look(request: FastifyRequest): Look {
    const { headers, raw } = request;
    if (this.#needsOurHost && this.#front.functionOf(raw) === null) checkHost(headers.host, this.#names(request));
    return {
      caller: this.#identify(headers.authorization),
      isFromElsewhere: isFromElsewhere(headers, (origin) => this.#isOurs(origin, request)),
    };
  }

  /**
   * Admits a request by its key and origin alone, without asking the spec of an artifact.
   * @param isPage whether browsers may open the route as a page, coming from another site
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

  /** Returns the names by which callers without a key may reach this process. */
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
    // The browser compares the origins as it sees them; a proxy may have changed the Host that arrives here.
    if (site === 'same-origin') return true;
    return [host, this.#front.seen(request.raw).host].some((name) => url.host === name?.toLowerCase());
  }
}

const oneOf = (header: string | string[] | undefined) => (Array.isArray(header) ? header.join(',') : header);
