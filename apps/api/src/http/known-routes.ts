import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify';

declare module 'fastify' {
  interface FastifyInstance {
    /** Every route as it was registered, those of libraries too. */
    readonly declaredRoutes: readonly RouteOptions[];
  }
}

/** Remembers the routes of the app, so that a refusal can name the methods of a path. */
export class KnownRoutes {
  readonly #routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];
  /** Every route as it was registered. */
  readonly all: RouteOptions[] = [];

  add(route: RouteOptions): void {
    this.all.push(route);
    const source = route.url
      .split('/')
      .map((part) =>
        part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : part.replace(/[.\\+^$()[\]{}|?]/g, '\\$&'),
      )
      .join('/');
    this.#routes.push({ pattern: new RegExp(`^${source}$`), methods: [route.method].flat() });
  }

  /** Returns the methods of a path in alphabetical order, without HEAD, which each GET has; empty for an unknown path. */
  methodsOf(path: string): string[] {
    const found = this.#routes.filter((route) => route.pattern.test(path)).flatMap((route) => route.methods);
    return [...new Set(found)].filter((method) => method !== 'HEAD' && method !== 'OPTIONS').sort();
  }

  /** Makes the refusal of a path, or a method of it, that no route has. */
  notFound(request: FastifyRequest, reply: FastifyReply): RequestError {
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = this.methodsOf(path);
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    if (methods.length === 0 || methods.includes(method)) {
      const shorter = path.replace(/\/+$/, '');
      const isMeant = shorter !== path && this.methodsOf(shorter).includes(method);
      return new RequestError('ROUTE_NOT_FOUND', {
        message: `There is no endpoint ${request.method} ${path}.`,
        ...(isMeant ? { hint: `There is ${request.method} ${shorter}, without the slash at its end.` } : {}),
        details: { method: request.method, path },
      });
    }
    reply.header('allow', methods.join(', '));
    // Pages below /admin are for people; their methods are an internal matter.
    return new RequestError(path.startsWith('/admin/') ? 'ROUTE_NOT_FOUND' : 'METHOD_NOT_ALLOWED', {
      message: `There is no endpoint ${request.method} ${path}; this path has ${methods.join(', ')}.`,
      details: { method: request.method, path, methods },
    });
  }
}
