import { createLogger } from '@pilum/core/log/logger.ts';
import { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { buildApp } from '../../../apps/api/src/app.ts';
import type { App } from '../../../apps/api/src/http/app-type.ts';
import { closeServices, makeServices, openServices } from '../../../apps/api/src/services.ts';
import { startRedis } from '../../support/redis.ts';

export const PORT = 8080;

/** An API without a key, on a Redis of its own; without a runner of tests around it. */
export async function openApi(): Promise<{ app: App; close: () => Promise<void> }> {
  const server = await startRedis();
  const { url } = server;
  const ignore = () => undefined;
  const redis = new BreakerRedis({ url, name: 'fuzz-api', giveUpAfterMs: 5000 }, ignore);
  const subscriber = new Subscriber(connect({ url, name: 'fuzz-api-messages' }, ignore), ignore);
  const logger = createLogger('api', 'silent');
  const parts = makeServices({
    redis,
    subscriber,
    connectOutput: () => connect({ url, name: 'fuzz-api-output' }, ignore),
    blobLimits: { blobBytes: 1_048_576, quotaBytes: 256 * 1_048_576 },
    retention: { ageS: 3600, count: 1000, framesAgeS: 3600 },
    secretKeys: KeySource.open({ SECRETS_KEY: 'k'.repeat(43) }, ignore),
    payloadLimitBytes: 1_048_576,
    syncWaitMs: 1000,
    acceptWithinMs: 5000,
    allowHostNetwork: false,
    trustsPages: false,
    images: { node: 'node:26-slim', python: 'python:3.11-slim-bookworm' },
    logger,
    onError: ignore,
    checksDeploys: false,
  });
  const app = await buildApp(parts, { guard: { host: '127.0.0.1', port: PORT, key: null }, logger, release: '0.0.0' });
  await openServices(parts);
  return {
    app,
    close: async () => {
      parts.waits.endAll();
      app.server.closeAllConnections();
      await app.close();
      await closeServices(parts);
      subscriber.close();
      redis.disconnect();
      await server.close();
    },
  };
}
