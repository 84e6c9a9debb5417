import { createLogger } from '@pilum/core/log/logger.ts';
import { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { matches, problemsOf } from '@pilum/core/schemas/check.ts';
import { Envelope, ErrorAnswer } from '@pilum/core/schemas/task.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import type { TSchema } from 'typebox';
import { expect } from 'vitest';
import { buildApp } from '../../../apps/api/src/app.ts';
import { ApiKey } from '../../../apps/api/src/auth/api-key.ts';
import type { Front } from '../../../apps/api/src/auth/front.ts';
import type { App } from '../../../apps/api/src/http/app-type.ts';
import {
  closeServices,
  makeServices,
  openServices,
  type Services,
  type ServicesOptions,
} from '../../../apps/api/src/services.ts';

const PORT = 8080;
const HOST = `127.0.0.1:${PORT}`;

export interface ApiOptions {
  readonly url: string;
  readonly host?: string;
  readonly key?: string;
  readonly front?: Front;
  readonly deps?: Partial<Omit<ServicesOptions, 'redis' | 'subscriber' | 'logger' | 'onError'>>;
  readonly commandTimeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | number | undefined>;
  readonly text: string;
  readonly bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
  readonly json: any;
}

export interface CallOptions {
  /** An object goes as JSON; text and bytes as they are, without a content type. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** The API without a socket, on a real Redis. Every answer is checked against the schema that its route promises. */
export class TestApi {
  readonly app: App;
  readonly deps: Services;
  readonly redis: Redis;
  readonly errors: unknown[];
  readonly #close: () => Promise<void>;

  constructor(app: App, deps: Services, redis: Redis, errors: unknown[], close: () => Promise<void>) {
    this.app = app;
    this.deps = deps;
    this.redis = redis;
    this.errors = errors;
    this.#close = close;
  }

  async call(method: string, url: string, { body, headers = {} }: CallOptions = {}): Promise<Answer> {
    const isRaw = typeof body === 'string' || Buffer.isBuffer(body);
    const response = await this.app.inject({
      method: method as 'GET',
      url,
      headers: {
        host: HOST,
        ...(body === undefined || isRaw ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { payload: isRaw ? body : JSON.stringify(body) }),
    });
    const answer: Answer = {
      status: response.statusCode,
      headers: response.headers,
      text: response.body,
      bytes: response.rawPayload,
      json: parsed(response.body),
    };
    if (method !== 'HEAD') checkForm(url, answer); // an answer to HEAD has no body
    return answer;
  }

  /** Deploys a process artifact, and fails the test where that fails. */
  async deploy(id: string, spec: Record<string, unknown> = {}, headers: Record<string, string> = {}): Promise<Answer> {
    const body = { runtime: 'process', code: { inline: `export default () => ${JSON.stringify(id)}` }, ...spec };
    const answer = await this.call('PUT', `/v1/artifacts/${id}`, { body, headers });
    expect(answer.status, answer.text).toBeLessThan(300);
    return answer;
  }

  async invoke(
    reference: string,
    body: unknown = {},
    query = '',
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return await this.call('POST', `/v1/artifacts/${reference}/invoke${query}`, { body, headers });
  }

  /** Accepts an async task and gives its id. */
  async accept(reference: string, body: unknown = {}): Promise<string> {
    const answer = await this.invoke(reference, body, '?mode=async');
    expect(answer.status, answer.text).toBe(202);
    return answer.json.taskId;
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

export async function startApi(options: ApiOptions): Promise<TestApi> {
  const { url, commandTimeoutMs = 5000 } = options;
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  const redis = new BreakerRedis({ url, name: 'test-api', giveUpAfterMs: commandTimeoutMs }, onError);
  const subscriber = new Subscriber(connect({ url, name: 'test-api-messages' }, onError), onError);
  const deps = makeServices({
    redis,
    subscriber,
    connectOutput: () => connect({ url, name: 'test-api-output' }, onError),
    blobLimits: { blobBytes: 256 * 1_048_576, quotaBytes: 1024 * 1_048_576 },
    retention: { ageS: 3600, count: 1000, framesAgeS: 3600 },
    secretKeys: KeySource.open({ SECRETS_KEY: 'k'.repeat(43) }, onError),
    payloadLimitBytes: 1_048_576,
    syncWaitMs: 10_000,
    acceptWithinMs: commandTimeoutMs,
    allowHostNetwork: false,
    // No worker is there to load code.
    checksDeploys: false,
    trustsPages: false,
    images: { node: 'node:26-slim', python: 'python:3.11-slim-bookworm' },
    ...options.deps,
    logger: createLogger('api', 'silent'),
    onError,
  });
  const app = await buildApp(deps, {
    guard: {
      host: options.host ?? '127.0.0.1',
      port: PORT,
      key: options.key === undefined ? null : new ApiKey(options.key),
      ...(options.front === undefined ? {} : { front: options.front }),
    },
    logger: createLogger('test', 'silent'),
    release: '0.0.0',
    serializer: checkingSerializer,
  });
  await openServices(deps);
  return new TestApi(app, deps, redis, errors, async () => {
    deps.waits.endAll();
    await app.close();
    await closeServices(deps);
    subscriber.close();
    redis.disconnect();
  });
}

/** Refuses an answer that is not what its schema says. */
function checkingSerializer(schema: unknown): (answer: unknown) => string {
  return (answer) => {
    const text = JSON.stringify(answer);
    const problems = problemsOf(schema as TSchema, JSON.parse(text));
    if (problems.length > 0) throw new Error(`not the answer that was promised: ${JSON.stringify(problems)}: ${text}`);
    return text;
  };
}

function checkForm(url: string, { status, json, text }: Answer): void {
  if (url.startsWith('/admin/queues') || url.startsWith('/docs') || url.startsWith('/readyz')) return;
  if (status >= 400) {
    if (!matches(ErrorAnswer, json)) expect(problemsOf(Envelope, json), text).toEqual([]);
  } else if (/^\/v1\/(?:artifacts\/[^/]+\/invoke|tasks\/[^/?]+)(?:\?|$)/.test(url) && url !== '/v1/tasks/retry') {
    expect(problemsOf(Envelope, json), text).toEqual([]);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
