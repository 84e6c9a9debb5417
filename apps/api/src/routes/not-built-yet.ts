import type { App } from '../http/app-type.ts';
import { notBuilt, ROUTES_NOT_BUILT } from '../http/not-built-yet.ts';
import { refusals } from './http-shapes.ts';

/** Adds routes that answer 501 for endpoints which are designed and still to be built. */
export function notBuiltRoutes(app: App): void {
  for (const { method, url } of ROUTES_NOT_BUILT) {
    app.route({
      method: [...method],
      url,
      // Any body is taken, so that the refusal is 501 and names the endpoint.
      config: { needs: 'functions:call', takesBody: { content: {} } },
      // Hidden, because a client could do nothing with the operation.
      schema: { hide: true, response: { ...refusals } },
      // Refused before the body is parsed, whose form is not agreed yet.
      preParsing: async (request) => {
        throw notBuilt(
          `${request.method} ${url.replaceAll(/:([A-Za-z]+)/g, '{$1}')}`,
          'see GET /docs for what there is',
        );
      },
      handler: async () => undefined,
    });
  }
}
