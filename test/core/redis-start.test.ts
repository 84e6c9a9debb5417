import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { readConfiguration } from '@pilum/core/config/read-configuration.ts';
import { parseRedisUrl } from '@pilum/core/config/redis-url.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { SCHEMA_VERSION } from '@pilum/core/redis/keys.ts';
import { readRedisTls } from '@pilum/core/redis/redis-tls.ts';
import { RedisWatch } from '@pilum/core/redis/redis-watch.ts';
import { checkSchemaVersion } from '@pilum/core/redis/schema-version.ts';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';

describe('a URL of Redis', () => {
  it.each([
    ['redis://h', { host: 'h', port: 6379, isTls: false }],
    ['redis://u%40:p%23%2f@h:1/3', { host: 'h', port: 1, username: 'u@', password: 'p#/', db: 3, isTls: false }],
    ['rediss://[::1]:7/', { host: '::1', port: 7, isTls: true }],
    [
      'redis+sentinel://u:p%40@a,b:1,[::1]:2/my%20primary/3',
      {
        sentinels: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 1 },
          { host: '::1', port: 2 },
        ],
        primary: 'my primary',
        username: 'u',
        password: 'p@',
        db: 3,
        isTls: false,
      },
    ],
    ['rediss+sentinel://a/m', { sentinels: [{ host: 'a', port: 26_379 }], primary: 'm', isTls: true }],
    ['unix:///a%20b/redis.sock', { path: '/a b/redis.sock', isTls: false }],
  ])('%s', (url, address) => {
    expect(parseRedisUrl(url)).toEqual(address);
  });

  it.each([
    ['redis://h/abc', 'database "abc"'],
    ['redis://h/1/2', 'database "1/2"'],
    ['redis://h/-1', 'database "-1"'],
    ['redis://h?db=5', '…/5'],
    ['redis://h/2?family=6&tls=true', '"family", "tls"'],
    ['unix:///s.sock?db=1', '"db"'],
    ['unix://s.sock', 'three slashes'],
    ['redis://:secret#x@h', '%23'],
    ['redis://h:99999', '65535'],
    ['redis://:sec%ret@h', '%25'],
    ['redis:///0', 'no host'],
    ['redis+sentinel://a,b', 'names no primary'],
    ['redis+sentinel://a,,b/m', 'no host'],
    ['redis+sentinel://:sec@a:99999/m', '65535'],
    ['redis+sentinel://a/m/x', 'database "x"'],
    ['redis+sentinel://a/m?db=1', '"db"'],
    [`redis+sentinel://${'a,'.repeat(40)}a/m`, '41 Sentinels'],
    ['http://h', 'redis://'],
    ['redis://h ', 'space'],
  ])('%s is refused by name, and no password is shown', (url, word) => {
    let message = '';
    try {
      readConfiguration({ PILUM_REDIS_URL: url });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('PILUM_REDIS_URL');
    if (word !== 'redis://') expect(message).toContain(word);
    expect(message).not.toContain('sec');
  });
});

describe('files for TLS', () => {
  it('are refused where they cannot be read, would have no effect or are no pair', () => {
    const directory = makeTemporaryDirectory();
    const pem = join(directory, 'ca.pem');
    writeFileSync(pem, '-----BEGIN CERTIFICATE-----\n');
    writeFileSync(join(directory, 'text'), 'hello');
    const rediss = 'rediss://h';
    expect(readRedisTls({ REDIS_URL: 'redis://h' })).toBeUndefined();
    expect(readRedisTls({ REDIS_URL: rediss, REDIS_CA_FILE: pem })).toEqual({ ca: '-----BEGIN CERTIFICATE-----\n' });
    expect(() => readRedisTls({ REDIS_URL: 'redis://h', REDIS_CA_FILE: pem })).toThrow('rediss:// alone');
    expect(() => readRedisTls({ REDIS_URL: rediss, REDIS_CERT_FILE: pem })).toThrow('are a pair');
    expect(() => readRedisTls({ REDIS_URL: rediss, REDIS_SENTINEL_PASSWORD: 'x' })).toThrow('redis+sentinel:// alone');
    expect(readRedisTls({ REDIS_URL: 'redis+sentinel://a/m', REDIS_SENTINEL_PASSWORD: 'x' })).toEqual({
      sentinelPassword: 'x',
    });
    expect(() => readRedisTls({ REDIS_URL: rediss, REDIS_CA_FILE: '/nowhere' })).toThrow(
      '/nowhere, which cannot be read (ENOENT)',
    );
    expect(() => readRedisTls({ REDIS_URL: rediss, REDIS_CA_FILE: join(directory, 'text') })).toThrow('no PEM file');
  });
});

describe('a Redis that is met', () => {
  let server: TestRedis;
  beforeAll(async () => {
    server = await startRedis({ appendonly: true });
  });
  afterAll(async () => server.close());

  /** Meets it, and gives what was said of it. */
  async function meet(url: string, allowEviction = false): Promise<{ refused: string; log: string[] }> {
    const log: string[] = [];
    const say = (_fields: object, message: string) => log.push(message);
    const redis = connect({ url, name: 'test' }, () => undefined);
    const options = { allowEviction, isTls: url.startsWith('rediss:'), log: { warn: say, error: say } };
    try {
      const refused = await new RedisWatch(redis, options).meet(AbortSignal.timeout(8000)).then(
        () => '',
        (error: Error) => error.message,
      );
      return { refused, log };
    } finally {
      redis.disconnect();
    }
  }

  /** Has the Redis of this file be otherwise until the test is over. */
  async function set(...settings: [string, string, string][]): Promise<void> {
    const admin = connect({ url: server.url, name: 'admin' }, () => undefined);
    onTestFinished(async () => {
      for (const [name, , before] of settings) await admin.config('SET', name, before);
      admin.disconnect();
    });
    for (const [name, value] of settings) await admin.config('SET', name, value);
  }

  it('is used without a word where it keeps what it accepts', async () => {
    expect(await meet(server.url)).toEqual({ refused: '', log: [] });
  });

  it.each([
    ['maxmemory', '1kb', '0', 'out of memory (OOM)'],
    ['min-replicas-to-write', '3', '0', 'fewer replicas than it needs'],
  ])('that takes no writes is told in words where a process marks it (%s)', async (name, value, before, words) => {
    const redis = connect({ url: server.url, name: 'marks' }, () => undefined);
    try {
      await redis.del(SCHEMA_VERSION);
      await set([name, value, before]);
      await expect(checkSchemaVersion(redis)).rejects.toMatchObject({
        code: 'REDIS_UNAVAILABLE',
        message: expect.stringContaining(words),
      });
    } finally {
      redis.disconnect();
    }
  });

  it('is refused where it may throw keys away, unless that is wanted', async () => {
    await set(['maxmemory-policy', 'volatile-ttl', 'noeviction']);
    const { refused } = await meet(server.url);
    expect(refused).toContain('maxmemory-policy volatile-ttl');
    expect(refused).toContain('set maxmemory-policy noeviction');
    const allowed = await meet(server.url, true);
    expect(allowed).toEqual({ refused: '', log: [expect.stringContaining('PILUM_REDIS_ALLOW_EVICTION')] });
  });

  it('is told of loudly where it keeps nothing', async () => {
    await set(['appendonly', 'no', 'yes']);
    expect(await meet(server.url)).toEqual({
      refused: '',
      log: [expect.stringMatching(/keeps nothing.*LOST.*appendonly yes/)],
    });
    await set(['save', '60 1', '']);
    expect((await meet(server.url)).log).toEqual([expect.stringMatching(/last snapshot.*appendonly yes/)]);
  });

  it('is refused where its user lacks a right, which is named', async () => {
    const admin = connect({ url: server.url, name: 'admin' }, () => undefined);
    onTestFinished(() => admin.disconnect());
    const as = (user: string) => `${'redis://'}${user}:pw@127.0.0.1`;
    const rights: [string, string[], RegExp][] = [
      [
        'no-dangerous',
        ['~*', '&*', '+@all', '-@dangerous'],
        /user no-dangerous run INFO \(NOPERM\): ACL SETUSER no-dangerous \+info/,
      ],
      [
        'no-scripts',
        ['~*', '&*', '+@all', '-evalsha', '-zpopmin'],
        /EVALSHA, ZPOPMIN \(NOPERM\): ACL SETUSER no-scripts \+evalsha \+zpopmin/,
      ],
      ['no-keys', ['~other*', '&*', '+@all'], /user no-keys use Pilum's keys.*~\{pilum\*/],
      ['no-channels', ['~*', 'resetchannels', '+@all'], /user no-channels use Pilum's channels.*&pilum:\*/],
    ];
    const port = await freePort();
    await admin.config('SET', 'port', String(port)).catch(() => undefined);
    for (const [user, acl, words] of rights) {
      await admin.call('ACL', 'SETUSER', user, 'on', '>pw', ...acl);
      expect((await meet(`${as(user)}:${port}`)).refused).toMatch(words);
    }
    await admin.call(
      'ACL',
      'SETUSER',
      'just-right',
      'on',
      '>pw',
      '~{pilum*',
      '&pilum:*',
      '+@all',
      '-@admin',
      '+info',
      '+acl|whoami',
    );
    expect((await meet(`${as('just-right')}:${port}`)).refused).toBe('');
    expect((await meet(`redis://just-right:wrong@127.0.0.1:${port}`)).refused).toMatch(/refuses user and password/);
    expect((await meet(`redis://127.0.0.1:${port}/999`)).refused).toMatch(/does not have the database/);
    expect((await meet(`rediss://127.0.0.1:${port}`)).refused).toMatch(/does not speak TLS: write redis:/);
    await admin.config('SET', 'requirepass', 'pw');
    try {
      expect((await meet(`redis://127.0.0.1:${port}`)).refused).toMatch(/wants a password/);
    } finally {
      await admin.config('SET', 'requirepass', '');
    }
  });

  it('is refused where it is a replica, and left where it becomes one', async () => {
    const admin = connect({ url: server.url, name: 'admin' }, () => undefined);
    const log: string[] = [];
    const say = (_fields: object, message: string) => log.push(message);
    const redis = connect({ url: server.url, name: 'test' }, () => undefined);
    onTestFinished(() => {
      redis.disconnect();
      admin.disconnect();
    });
    const watch = new RedisWatch(redis, { allowEviction: false, isTls: false, log: { warn: say, error: say } });
    await watch.meet();
    watch.open();
    await admin.replicaof('127.0.0.1', '1');
    try {
      expect((await meet(server.url)).refused).toMatch(/is a replica/);
      await expect(redis.set('{pilum:check}:x', '1')).rejects.toThrow('READONLY');
      await waitFor(() => watch.problems.length > 0, { what: 'the replica to be seen' });
      expect(watch.problems[0]).toMatch(/is a replica.*primary/);
      // A command of a worker waits for a primary.
      const waiting = redis.set('{pilum:check}:x', '1', 'EX', 1);
      await admin.replicaof('NO', 'ONE');
      expect(await waiting).toBe('OK');
      await waitFor(() => watch.problems.length === 0, { what: 'the primary to be seen' });
    } finally {
      await admin.replicaof('NO', 'ONE');
    }
  });

  it.each([
    ['speaks HTTP', (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['greets as another', (socket: Socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n')],
  ])('is refused where it is none and %s', async (_name, greet) => {
    const other: Server = createServer((socket) => {
      socket.on('error', () => undefined);
      greet(socket);
    });
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };
    expect((await meet(`redis://127.0.0.1:${port}`)).refused).toMatch(/no Redis: check host and port/);
  });

  it('is refused where it is too old, whatever it calls itself', async () => {
    const old = createServer((socket) => {
      socket.on('error', () => undefined);
      const info = '# Server\r\nredis_version:6.0.16\r\nrole:master\r\n';
      socket.on('data', (data) => {
        for (const command of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)) {
          const isInfo = command[1]?.toLowerCase() === 'info';
          socket.write(isInfo ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n');
        }
      });
    });
    old.listen(0, '127.0.0.1');
    await once(old, 'listening');
    onTestFinished(() => void old.close());
    const { port } = old.address() as { port: number };
    expect((await meet(`redis://127.0.0.1:${port}`)).refused).toMatch(/version 6\.0\.16: Pilum needs 6\.2/);
  });

  it('is refused over TLS where its certificate is not known, and used where its authority is named', async () => {
    const directory = makeTemporaryDirectory();
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const made = spawn(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    );
    await once(made, 'close');
    const port = await freePort();
    const admin = connect({ url: server.url, name: 'admin' }, () => undefined);
    onTestFinished(() => admin.disconnect());
    // All at once: a certificate without its key is refused.
    const files = { 'tls-cert-file': cert, 'tls-key-file': key, 'tls-ca-cert-file': cert, 'tls-port': String(port) };
    await admin.call('CONFIG', 'SET', ...Object.entries(files).flat());
    const url = `rediss://127.0.0.1:${port}`;
    expect((await meet(url)).refused).toMatch(/PILUM_REDIS_CA_FILE/);
    const tls = { REDIS_URL: url, REDIS_CA_FILE: cert };
    const unshown = connect({ url, tls: readRedisTls(tls), name: 'test' }, () => undefined);
    const log = { warn: () => undefined, error: () => undefined };
    const options = { allowEviction: false, isTls: true, log };
    await expect(new RedisWatch(unshown, options).meet(AbortSignal.timeout(8000))).rejects.toThrow(
      'PILUM_REDIS_CERT_FILE',
    );
    unshown.disconnect();
    const shown = connect(
      { url, tls: readRedisTls({ ...tls, REDIS_CERT_FILE: cert, REDIS_KEY_FILE: key }), name: 'test' },
      () => undefined,
    );
    await new RedisWatch(shown, options).meet(AbortSignal.timeout(8000));
    shown.disconnect();
  });
});
