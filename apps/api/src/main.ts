import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '@pilum/core/config/config.ts';
import { requireClosedToFunctions } from '@pilum/core/config/host-network.ts';
import { readConfiguration } from '@pilum/core/config/read-configuration.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { runProcess } from '@pilum/core/lifecycle/run-process.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { createLogger, type Logger } from '@pilum/core/log/logger.ts';
import { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { isTlsUrl, readRedisTls } from '@pilum/core/redis/redis-tls.ts';
import { checkSchemaVersion } from '@pilum/core/redis/schema-version.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { sayUnknownKeys } from '@pilum/core/secrets/say-unknown-keys.ts';
import { KeylessNotice } from '@pilum/core/store/keyless-apis.ts';
import { buildApp } from './app.ts';
import { ApiKey } from './auth/api-key.ts';
import { frontOf } from './auth/front-of.ts';
import { isLoopback } from './auth/origin.ts';
import { REDIS_LIMIT_MS } from './http/answer-limit.ts';
import type { App } from './http/app-type.ts';
import { boundSlowReaders } from './http/slow-readers.ts';
import { closeServices, makeServices, openServices } from './services.ts';

const { version: release } = createRequire(import.meta.url)('../package.json') as { version: string };

/** Time for the last answers, from the end of the drain until open connections are cut, ms. */
const CUT_OFF_MS = 1000;
const CLOSE_IDLE_INTERVAL_MS = 20;
const MEBIBYTE = 1_048_576;

await runProcess(createLogger('api', process.env.PILUM_LOG_LEVEL ?? 'info'), async () => {
  const configuration = readConfiguration(process.env);
  requireKeyOffLoopback(configuration);
  requireClosedToFunctions(configuration, 'api');
  const logger = createLogger('api', configuration.LOG_LEVEL);
  const { REDIS_URL: url, HOST, PORT, API_KEY } = configuration;
  const secretKeys = KeySource.open(configuration, (error) => logEvent(logger, 'secret-keys-unread', { err: error }));
  // What this process starts is not to have it.
  delete process.env.PILUM_SECRETS_KEY;
  const tls = readRedisTls(configuration);
  const name = `pilum-api-${process.pid}`;
  const onError = (error: unknown) => logEvent(logger, 'redis-disturbed', { err: messageOf(error) });
  const redis = new BreakerRedis({ url, tls, name, giveUpAfterMs: REDIS_LIMIT_MS }, onError);
  const subscriberRedis = connect({ url, tls, name: `${name}-messages` }, onError);
  const subscriber = new Subscriber(subscriberRedis, onError);
  const deps = makeServices({
    redis,
    subscriber,
    connectOutput: () => connect({ url, tls, name: `${name}-output` }, onError),
    blobLimits: {
      blobBytes: Math.floor(configuration.BLOB_LIMIT_MIB * MEBIBYTE),
      quotaBytes: Math.floor(configuration.STORE_QUOTA_MIB * MEBIBYTE),
    },
    secretKeys,
    retention: {
      ageS: configuration.TASK_RETENTION_S,
      failedAgeS: configuration.TASK_FAILURE_RETENTION_S,
      count: configuration.TASK_RETENTION_COUNT,
      framesAgeS: configuration.STREAM_RETENTION_S,
      mostBytes: configuration.KEPT_MIB * MEBIBYTE,
    },
    namespaceKeptBytes: configuration.NAMESPACE_KEPT_MIB * MEBIBYTE,
    payloadLimitBytes: Math.floor(configuration.PAYLOAD_LIMIT_MIB * MEBIBYTE),
    unfinished: {
      requests: configuration.UNFINISHED_REQUESTS,
      bytes: Math.floor(configuration.UNFINISHED_MIB * MEBIBYTE),
      bytesPerS: Math.floor(configuration.BODY_PACE_KIB * 1024),
    },
    syncWaitMs: configuration.SYNC_WAIT_MS,
    acceptWithinMs: REDIS_LIMIT_MS,
    allowHostNetwork: configuration.ALLOW_HOST_NETWORK,
    checksDeploys: configuration.DEPLOY_CHECK,
    trustsPages: configuration.TRUST_PAGES,
    images: { node: configuration.DOCKER_NODE_IMAGE, python: configuration.DOCKER_PYTHON_IMAGE },
    redisChecks: { allowEviction: configuration.REDIS_ALLOW_EVICTION, isTls: isTlsUrl(url) },
    logger,
    onError,
  });
  // Added after BullMQ's set-up, during which more than three listeners cause a warning.
  redis.on('ready', () => logEvent(logger, 'redis-answers'));
  const app = await buildApp(deps, {
    guard: {
      host: HOST,
      port: PORT,
      key: API_KEY === undefined ? null : new ApiKey(API_KEY),
      front: frontOf(configuration),
    },
    logger,
    release,
  });
  app.server.maxConnections = configuration.CONNECTIONS;
  boundSlowReaders(app.server, Math.floor(configuration.UNFINISHED_MIB * MEBIBYTE));
  // Listening comes first, so that /readyz can report a Redis that is away.
  await listen(app, HOST, PORT, logger);
  await deps.redisWatch.meet();
  await schemaChecked(redis, logger);
  await sayUnknownKeys(deps.secrets, secretKeys, logger);
  const notice = API_KEY === undefined ? new KeylessNotice(redis, onError) : null;
  await notice?.open();
  await openServices(deps);
  logEvent(logger, 'ready');
  return {
    close: async () => {
      // The readers of these streams resume at another process.
      deps.streams.endResumable();
      const endWaits = setTimeout(() => {
        deps.waits.endAll();
        deps.streams.endAll();
      }, configuration.DRAIN_MS);
      // Idle keep-alive connections would keep the process alive.
      const closeIdle = setInterval(() => app.server.closeIdleConnections(), CLOSE_IDLE_INTERVAL_MS);
      const cutOff = setTimeout(() => app.server.closeAllConnections(), configuration.DRAIN_MS + CUT_OFF_MS);
      await app.close();
      clearTimeout(endWaits);
      clearInterval(closeIdle);
      clearTimeout(cutOff);
      notice?.close();
      await closeServices(deps);
      subscriber.close();
      redis.disconnect();
    },
    closeWithinMs: configuration.DRAIN_MS + CUT_OFF_MS + 2 * REDIS_LIMIT_MS,
  };
});

function requireKeyOffLoopback({ HOST, API_KEY }: Configuration): void {
  if (API_KEY !== undefined || isLoopback(HOST)) return;
  throw new ConfigurationError('CONFIGURATION_INVALID', {
    message: `PILUM_HOST is ${HOST}, which others can reach: set PILUM_API_KEY (16 characters or more), or listen on 127.0.0.1.`,
  });
}

async function listen(app: App, host: string, port: number, logger: Logger): Promise<void> {
  try {
    await app.listen({ host, port, listenTextResolver: (address) => `listening on ${address}` });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EADDRINUSE' && code !== 'EADDRNOTAVAIL' && code !== 'EACCES') throw error;
    const why = {
      EADDRINUSE: 'is in use by another program',
      EADDRNOTAVAIL: 'is not an address of this machine',
      EACCES: 'may not be used without more rights',
    };
    logEvent(
      logger,
      'address-refused',
      {},
      `${host}:${port} ${why[code]}: choose another with PILUM_HOST and PILUM_PORT.`,
    );
    process.exit(1);
  }
}

/** Waits for Redis without a time limit, and checks that this release can read its data. */
async function schemaChecked(redis: Redis, logger: Logger): Promise<void> {
  for (;;) {
    try {
      return await checkSchemaVersion(redis);
    } catch (error) {
      if (error instanceof ConfigurationError) throw error;
      logEvent(logger, 'schema-unread', { err: messageOf(error) });
      await sleep(1000);
    }
  }
}

// A function declaration, because it is used while the top-level await of this file still waits.
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
