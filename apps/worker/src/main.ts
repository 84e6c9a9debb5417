import { createRequire } from 'node:module';
import { requireClosedToFunctions } from '@pilum/core/config/host-network.ts';
import { readConfiguration } from '@pilum/core/config/read-configuration.ts';
import { runProcess } from '@pilum/core/lifecycle/run-process.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { createLogger } from '@pilum/core/log/logger.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { isTlsUrl, readRedisTls } from '@pilum/core/redis/redis-tls.ts';
import { RedisWatch } from '@pilum/core/redis/redis-watch.ts';
import { checkSchemaVersion } from '@pilum/core/redis/schema-version.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { createRuntimes } from './runtimes/registry.ts';
import { Worker } from './worker.ts';

const { version: release } = createRequire(import.meta.url)('../package.json') as { version: string };

/** From the end of drain and grace until the process ends all the same, ms. */
const CLOSE_SLACK_MS = 5000;

/**
 * Files that this process makes for functions are read by other users, whatever the umask of who started it; what is not for them
 * is made with a mode of its own.
 */
process.umask(0o022);

await runProcess(createLogger('worker', process.env.PILUM_LOG_LEVEL ?? 'info'), async () => {
  const configuration = readConfiguration(process.env);
  requireClosedToFunctions(configuration, 'worker');
  const logger = createLogger('worker', configuration.LOG_LEVEL);
  const onError = (error: Error) => logEvent(logger, 'redis-disturbed', { err: error.message });
  const { REDIS_URL: url, REDIS_ALLOW_EVICTION: allowEviction, WORKER_ID } = configuration;
  const secretKeys = KeySource.open(configuration, (error) => logEvent(logger, 'secret-keys-unread', { err: error }));
  // What this process starts is not to have it.
  delete process.env.PILUM_SECRETS_KEY;
  const tls = readRedisTls(configuration);
  const redis = connect({ url, tls, name: `pilum-worker-${WORKER_ID}` }, onError);
  const subscriberRedis = connect({ url, tls, name: `pilum-worker-${WORKER_ID}-messages` }, onError);
  const redisWatch = new RedisWatch(redis, { allowEviction, isTls: isTlsUrl(url), log: logger });
  await redisWatch.meet();
  redisWatch.open();
  await checkSchemaVersion(redis);
  const { runtimes, stagingDirectory, presence } = await createRuntimes(configuration, logger, process.env);
  const worker = new Worker({
    configuration,
    release,
    redis,
    subscriberRedis,
    redisTls: tls,
    runtimes,
    secretKeys,
    stagingDirectory,
    presence,
    logger,
  });
  await worker.open();
  return {
    close: async () => {
      await worker.close(configuration.DRAIN_MS);
      redisWatch.close();
      redis.disconnect();
    },
    wantsToStop: worker.drained.then(() => 'drained'),
    closeWithinMs: configuration.DRAIN_MS + configuration.KILL_GRACE_MS + CLOSE_SLACK_MS,
  };
});
