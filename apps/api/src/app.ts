import type { IncomingMessage } from 'node:http';
import { type FastifyBaseLogger, type FastifyRequest, fastify, LogController } from 'fastify';
import { Front } from './auth/front.ts';
import { Guard, type GuardOptions } from './auth/guard.ts';
import { decoratePrincipal } from './auth/principal.ts';
import { Admission } from './endpoints/admission.ts';
import { entrance } from './endpoints/entrance.ts';
import { answerError } from './http/answer-error.ts';
import type { App } from './http/app-type.ts';
import { answerBeforeRouting, answerClientError } from './http/before-routing.ts';
import { requireIdentity } from './http/content-encoding.ts';
import { parseJsonBody } from './http/json-body.ts';
import { KnownRoutes } from './http/known-routes.ts';
import { prettyAnswer, takePretty } from './http/pretty.ts';
import { refuseWhileAway } from './http/refuse-while-away.ts';
import { compileValidator } from './http/validation.ts';
import { registerOpenApi, serveOpenApi } from './observability/openapi.ts';
import { pagesBelow } from './observability/pages-below.ts';
import { requireDeclared } from './observability/route-rules.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { blobRoutes } from './routes/blobs.ts';
import { takeAnyBody } from './routes/call-request.ts';
import { functionRoutes } from './routes/functions.ts';
import { invokeRoutes } from './routes/invoke.ts';
import { notBuiltRoutes } from './routes/not-built-yet.ts';
import { healthRoutes, observabilityRoutes } from './routes/observability.ts';
import { retryRoute } from './routes/retry.ts';
import { secretRoutes } from './routes/secrets.ts';
import { startRoute } from './routes/start.ts';
import { readStreamRoutes, startStreamRoute } from './routes/streams.ts';
import { taskRoutes } from './routes/tasks.ts';
import { versionRoutes } from './routes/versions.ts';
import type { Services } from './services.ts';
import { requireJsonCharset } from './tasks/content-type.ts';

export interface AppOptions {
  readonly guard: GuardOptions;
  readonly logger: FastifyBaseLogger;
  readonly release: string;
  /** Makes the text of an answer. Tests give one that checks the answer against its schema. */
  readonly serializer?: (schema: unknown) => (answer: unknown) => string;
}

/** Largest body of a route that sets no limit of its own, bytes. */
const BODY_LIMIT_BYTES = 64 * 1024;

/** Time for the head of a request, ms. */
const HEAD_LIMIT_MS = 30_000;

/** Time for a whole request, ms: the store waits as long for the rest of an upload. */
const REQUEST_LIMIT_MS = 3_600_000;

/**
 * Builds the app, without listening. A request passes, each step with the errors that it may answer:
 *
 *     head (400)
 *       → entrance: the caller (401, 403), the route (404, 405), its right to the route (403), unread bodies and options (400)
 *       → Redis away (503; only routes with large bodies)
 *       → body (413, 400)
 *       → schemas (400)
 *       → handler (the error table)
 *       → answer
 */
export async function buildApp(services: Services, options: AppOptions): Promise<App> {
  const front = options.guard.front ?? new Front();
  const guard = new Guard({ ...options.guard, front });
  const admission = new Admission(guard, front, services.resolver);
  const known = new KnownRoutes();
  const app: App = fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    // A logger for each request costs time, and log lines name the task anyway.
    childLoggerFactory: (logger) => logger,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_LIMIT_MS,
    // The entrance refuses a missing Host itself, with an error of the table.
    http: { requireHostHeader: false, headersTimeout: HEAD_LIMIT_MS, connectionsCheckingInterval: 5000 },
    clientErrorHandler: answerClientError,
    // A stopping API still answers on open connections; the onSend hook below closes them.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 256 },
    frameworkErrors: answerError,
    rewriteUrl: (request) => urlBehind(front, request),
  });
  answerBeforeRouting(app.server);
  app.addHook('onRequest', entrance({ guard, admission, known }));
  app.setValidatorCompiler(compileValidator as Parameters<App['setValidatorCompiler']>[0]);
  // JSON.stringify takes 0.44 µs for an envelope; a serializer made from the schema takes 0.64 µs.
  app.setSerializerCompiler(({ schema }) => options.serializer?.(schema) ?? JSON.stringify);
  app.setErrorHandler(answerError);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    async ({ headers, routeOptions }: FastifyRequest, payload: IncomingMessage) => {
      requireIdentity(headers);
      requireJsonCharset(headers['content-type']);
      return parseJsonBody(await services.unfinished.read(payload, routeOptions.bodyLimit));
    },
  );
  decoratePrincipal(app);
  app.decorateRequest('corsHeaders', null);
  app.decorateRequest('isPretty', false);
  app.decorate('declaredRoutes', known.all);
  app.addHook('onRoute', (route) => known.add(route));
  // Fastify closes the connections of requests that arrive while it stops. A request that was already waiting needs this flag,
  // or its client would send the next request into a reset.
  let isStopping = false;
  app.addHook('preClose', (done) => {
    isStopping = true;
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    if (isStopping) reply.header('connection', 'close');
    done(null, prettyAnswer(request, reply, payload));
  });
  app.addHook('preValidation', (request, _reply, done) => {
    try {
      takePretty(request);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });

  await registerOpenApi(app, options.release);
  healthRoutes(app, services);
  app.setNotFoundHandler(async () => undefined);
  app.addHook('onSend', pagesBelow(front));
  await serveOpenApi(app, front);
  startRoute(app, options.release);
  artifactRoutes(app, services);
  versionRoutes(app, services);
  secretRoutes(app, services);
  taskRoutes(app, services);
  // Scopes keep apart the ways in which routes read their bodies.
  await app.register(async (scope: App) => retryRoute(scope, services));
  readStreamRoutes(app, services);
  observabilityRoutes(app, services);
  notBuiltRoutes(app);
  await app.register(async (large: App) => {
    large.addHook('onRequest', refuseWhileAway(services.redis));
    await large.register(async (scope: App) => blobRoutes(scope, services));
    await large.register(async (scope: App) => {
      takeAnyBody(scope, services.unfinished);
      invokeRoutes(scope, services);
      startStreamRoute(scope, services);
      functionRoutes(scope, { ...services, front });
    });
  });
  await services.bullBoard.register(app);
  await app.ready();
  requireDeclared(known.all);
  return app;
}

/** Rewrites the URL of a request to a host that belongs to one function, so that it reaches that function's route. */
function urlBehind(front: Front, request: IncomingMessage): string {
  const { url = '/' } = request;
  const own = front.functionOf(request);
  if (own === null) return url;
  const path = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  return `/fn/${own.reference}${path.startsWith('/') ? '' : '/'}${path}`;
}
