import { RequestError } from '@pilum/core/errors/pilum-error.ts';

/** Whether a machine reaches this address only from itself. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

export interface Addressing {
  /** The `Host` header. */
  readonly host: string | undefined;
  /** The `Origin` header: a browser sends it with every request that a page makes to another site. */
  readonly origin: string | undefined;
}

/**
 * On loopback there may be no key, so that any web page open on the machine could call us: by a name of its own that it
 * points at 127.0.0.1 (then `Host` is that name), or straight (then `Origin` is the page's).
 * @throws RequestError `FORBIDDEN`
 */
export function checkLoopbackAddressing({ host, origin }: Addressing, port: number): void {
  const ours = namesAt(port);
  if (host === undefined || !ours.includes(host.toLowerCase())) {
    throw new RequestError('FORBIDDEN', {
      message: `The Host header is ${shown(host)}; on loopback Pilum answers only to ${ours.join(', ')}.`,
      hint: 'To be reached by another name, set PILUM_HOST and PILUM_API_KEY.',
    });
  }
  if (origin !== undefined && !ours.some((name) => origin.toLowerCase() === `http://${name}`)) {
    throw new RequestError('FORBIDDEN', {
      message: `The Origin header is ${shown(origin)}; web pages of other sites may not call Pilum.`,
    });
  }
}

/** Of the last port that was asked for: a process listens on one. */
let lastNames: { readonly port: number; readonly names: readonly string[] } = { port: -1, names: [] };

function namesAt(port: number): readonly string[] {
  if (lastNames.port !== port) {
    const names = ['127.0.0.1', 'localhost', '[::1]'].flatMap((name) =>
      port === 80 ? [name, `${name}:80`] : [`${name}:${port}`],
    );
    lastNames = { port, names };
  }
  return lastNames.names;
}

/**
 * A browser that was given the key for this site sends it along with what pages of other sites ask for.
 * @throws RequestError `FORBIDDEN`
 */
export function checkSameOrigin({ host, origin }: Addressing): void {
  if (origin === undefined) return;
  const url = URL.parse(origin);
  if (url !== null && host !== undefined && url.host === host.toLowerCase()) return;
  throw new RequestError('FORBIDDEN', {
    message: `The Origin header is ${shown(origin)}; web pages of other sites may not call Pilum.`,
  });
}

const shown = (header: string | undefined) => (header === undefined ? 'missing' : JSON.stringify(header));
