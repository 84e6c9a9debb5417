import type { IncomingMessage } from 'node:http';
import { type FastifyBaseLogger, type FastifyRequest, fastify, LogController } from 'fastify';
import { Front } from './auth/front.ts';
import { Guard, type GuardOptions } from './auth/guard.ts';
import { requireAdmin } from './auth/principal.ts';
import { Admission } from './endpoints/admission.ts';
import { answerError } from './http/answer-error.ts';
import type { App } from './http/app-type.ts';
import { answerBeforeRouting, answerClientError, requireClearHeaders } from './http/before-routing.ts';
import { requireIdentity } from './http/content-encoding.ts';
import { parseJsonBody } from './http/json-body.ts';
import { KnownRoutes } from './http/known-routes.ts';
import { prettyAnswer, takePretty } from './http/pretty.ts';
import { refuseUntakenBody, refuseUntakenOptions } from './http/refuse-body.ts';
import { refuseWhileAway } from './http/refuse-while-away.ts';
import { compileValidator } from './http/validation.ts';
import { registerOpenApi, serveOpenApi } from './observability/openapi.ts';
import { pagesBelow } from './observability/pages-below.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { blobRoutes } from './routes/blobs.ts';
import { takeAnyBody } from './routes/call-request.ts';
import { functionRoutes } from './routes/functions.ts';
import { invokeRoutes } from './routes/invoke.ts';
import { notBuiltRoutes } from './routes/not-built-yet.ts';
import { healthRoutes, seeRoutes } from './routes/observability.ts';
import { retryRoute } from './routes/retry.ts';
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
  /** Makes the text of an answer from its schema; for tests, which check the one against the other. */
  readonly serializer?: (schema: unknown) => (answer: unknown) => string;
}

/** Body of routes that say no limit of their own, bytes. */
const BODY_LIMIT_BYTES = 64 * 1024;

/** The head of a request may take this long, ms. */
const HEAD_LIMIT_MS = 30_000;

/** An upload may take this long, ms: as long as the store waits for the rest of it. */
const REQUEST_LIMIT_MS = 3_600_000;

/**
 * The app, apart from `listen`. The life of a request:
 *
 *     head (400) → guard (401, 403) → Redis away (503) → body (413, 400) → schemas (400) → handler (the error table) → answer
 */
export async function buildApp(deps: Services, options: AppOptions): Promise<App> {
  const front = options.guard.front ?? new Front();
  const guard = new Guard({ ...options.guard, front });
  const admission = new Admission(guard, front, deps.resolver);
  const known = new KnownRoutes();
  const app: App = fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    // A logger for each request would cost more than it says: what is logged names the task, not the request.
    childLoggerFactory: (logger) => logger,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_LIMIT_MS,
    // We say so ourselves, as we say everything.
    http: { requireHostHeader: false, headersTimeout: HEAD_LIMIT_MS, connectionsCheckingInterval: 5000 },
    clientErrorHandler: answerClientError,
    // While it stops, connections that are open are answered as ever, and told that they close.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 256 },
    frameworkErrors: answerError,
    rewriteUrl: (request) => urlBehind(front, request),
  });
  answerBeforeRouting(app.server);
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    try {
      requireClearHeaders(raw);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });
  app.setValidatorCompiler(compileValidator as Parameters<App['setValidatorCompiler']>[0]);
  // Measured with an envelope: JSON.stringify takes 0.44 µs, a serializer made from the schema 0.64 µs.
  app.setSerializerCompiler(({ schema }) => options.serializer?.(schema) ?? JSON.stringify);
  app.setErrorHandler(answerError);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    async ({ headers, routeOptions }: FastifyRequest, payload: IncomingMessage) => {
      requireIdentity(headers);
      requireJsonCharset(headers['content-type']);
      return parseJsonBody(await deps.unfinished.read(payload, routeOptions.bodyLimit));
    },
  );
  app.decorateRequest('principal', null);
  app.decorateRequest('corsHeaders', null);
  app.decorateRequest('isPretty', false);
  app.addHook('onRoute', (route) => known.add(route));
  // Fastify says so to requests that come while it stops; one that was waiting already would send its next into a reset.
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
  // In scopes, so that the hooks of one do not reach the routes of another.
  await app.register(async (open) => {
    open.addHook('onRequest', async (request) => refuseUntakenBody(request));
    healthRoutes(open, deps);
  });
  await app.register(async (guarded: App) => {
    guarded.addHook('onRequest', (request, reply, done) => {
      try {
        const look = guard.look(request);
        if (isEndpoint(request)) {
          admission.admit(request, reply, look).then((principal) => {
            if (principal === null) return; // answered
            request.principal = principal;
            done();
          }, done);
          return;
        }
        request.principal = guard.admit(request, look, true);
        // After the guard, so that a stranger does not learn which paths there are; before the body, whatever it is.
        if (request.is404) throw known.notFound(request, reply);
        refuseUntakenBody(request);
        refuseUntakenOptions(request);
      } catch (error) {
        done(error as Error);
        return;
      }
      done();
    });
    guarded.setNotFoundHandler(async () => undefined);
    guarded.addHook('onSend', pagesBelow(front));
    await serveOpenApi(guarded, front);
    startRoute(guarded, options.release);
    artifactRoutes(guarded, deps);
    versionRoutes(guarded, deps);
    taskRoutes(guarded, deps);
    await guarded.register(async (scope: App) => retryRoute(scope, deps));
    readStreamRoutes(guarded, deps);
    seeRoutes(guarded, deps);
    notBuiltRoutes(guarded);
    // Bodies of these may be large.
    await guarded.register(async (large: App) => {
      large.addHook('onRequest', refuseWhileAway(deps.redis));
      await large.register(async (scope: App) => blobRoutes(scope, deps));
      await large.register(async (scope: App) => {
        takeAnyBody(scope, deps.unfinished);
        invokeRoutes(scope, deps);
        startStreamRoute(scope, deps);
        functionRoutes(scope, { ...deps, front });
      });
    });
    await guarded.register(async (admin: App) => {
      admin.addHook('onRequest', async ({ principal }) => {
        if (principal !== null) requireAdmin(principal);
      });
      await deps.bullBoard.register(admin);
    });
  });
  await app.ready();
  return app;
}

const isEndpoint = ({ routeOptions }: FastifyRequest) => routeOptions.url?.startsWith('/fn/') === true;

/** What is asked of a host that is a function's own is asked of that function, whatever its path. */
function urlBehind(front: Front, request: IncomingMessage): string {
  const { url = '/' } = request;
  const own = front.functionOf(request);
  if (own === null) return url;
  const path = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  return `/fn/${own.reference}${path.startsWith('/') ? '' : '/'}${path}`;
}
