import type { App } from '../http/app-type.ts';
import { notBuilt, ROUTES_NOT_BUILT } from '../http/not-built-yet.ts';
import { refusals } from './http-shapes.ts';

/** Answers 501 for the endpoints that the design has agreed on and no one has built, whatever the body. */
export function notBuiltRoutes(app: App): void {
  for (const { method, url } of ROUTES_NOT_BUILT) {
    app.route({
      method: [...method],
      url,
      // It is refused as a whole, and not for its body.
      config: { needs: 'functions:call', takesBody: { content: {} } },
      // Not in the document: a client could do nothing with it.
      schema: { hide: true, response: { ...refusals } },
      // Before the body is read: of what it may consist is not agreed yet.
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
