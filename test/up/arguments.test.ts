import { describe, expect, it } from 'vitest';
import { readArguments } from '../../apps/up/setup/arguments.mjs';

const read = (argv: string[], environment: Record<string, string> = {}) =>
  readArguments(argv, environment, { here: '/home/ada/pilum/docs', root: '/home/ada/pilum' });

describe('the arguments of up', () => {
  it('has a default for everything', () => {
    expect(read([])).toEqual({
      help: false,
      host: '127.0.0.1',
      port: 8080,
      workers: 1,
      data: '/home/ada/pilum/.pilum',
      redisUrl: undefined,
      isolation: 'sandbox',
    });
  });

  it('takes what the flags say', () => {
    const argv = '--port 0 --host ::1 --workers 3 --data ../d --redis redis://r:1 --isolation none'.split(' ');
    expect(read(argv)).toEqual({
      help: false,
      host: '::1',
      port: 0,
      workers: 3,
      data: '/home/ada/pilum/d',
      redisUrl: 'redis://r:1',
      isolation: 'none',
    });
  });

  it('takes PILUM_ variables where there is no flag', () => {
    const environment = {
      PILUM_PORT: '81',
      PILUM_HOST: 'localhost',
      PILUM_DATA: 'kept',
      PILUM_REDIS_URL: 'unix:///r',
      PILUM_ISOLATION: 'none',
    };
    expect(read(['--port', '82'], environment)).toMatchObject({
      port: 82,
      host: 'localhost',
      data: '/home/ada/pilum/kept',
      redisUrl: 'unix:///r',
      isolation: 'none',
    });
  });

  it.each([
    [['--bogus'], /^Unknown option '--bogus'\.\n\nnpm run up/],
    [['stray'], /^Unexpected argument 'stray'/],
    [['--port'], /^Option '--port <value>' argument missing\.\n/],
    [['--port', '65536'], /^--port is a whole number from 0 to 65535, not "65536"\./],
    [['--port', '8o8o'], /not "8o8o"/],
    [['--port', ''], /^--port is a whole number/],
    [['--workers', '0'], /^--workers is a whole number from 1 to 64, not "0"\./],
    [['--workers', '-1'], /--workers/],
    [['--isolation', 'docker'], /^--isolation is sandbox or none, not "docker"\./],
    [['--redis', 'localhost:6379'], /^--redis needs a URL that begins with redis:\/\//],
    [['--data', ''], /^--data needs a directory/],
    [['--host', ''], /^--host needs an address/],
  ])('%j is refused in one sentence with the usage', (argv, message) => {
    expect(() => read(argv)).toThrow(
      expect.objectContaining({ name: 'Refusal', message: expect.stringMatching(message) }),
    );
    expect(() => read(argv)).toThrow('--isolation sandbox     none runs functions WITHOUT a sandbox');
  });

  it.each(['0.0.0.0', '::', '192.168.1.4', 'example.org', '127.evil.example'])('%s needs a key', (host) => {
    expect(() => read(['--host', host])).toThrow(/PILUM_API_KEY/);
    expect(read(['--host', host], { PILUM_API_KEY: 'k' }).host).toBe(host);
  });

  it.each(['127.0.0.1', '127.8.8.8', '::1', '[::1]', 'localhost'])('%s needs none', (host) => {
    expect(() => read(['--host', host])).not.toThrow();
  });

  it('lets no function have the network of the machine where an operator needs no key', () => {
    const allowed = { PILUM_ALLOW_HOST_NETWORK: 'true' };
    expect(() => read([], allowed)).toThrow(/the API has no key: set PILUM_API_KEY/);
    const keyed = { ...allowed, PILUM_API_KEY: 'k'.repeat(16) };
    expect(() => read([], keyed)).not.toThrow();
    expect(() => read(['--redis', 'redis://10.0.0.1:6379'], keyed)).toThrow(/has no password/);
    expect(() => read(['--redis', 'redis://:secret@10.0.0.1:6379'], keyed)).not.toThrow();
    expect(() => read(['--redis', 'unix:///run/redis.sock'], keyed)).not.toThrow();
    expect(() => read([], { PILUM_ALLOW_HOST_NETWORK: 'false' })).not.toThrow();
  });

  it('gives help whatever else is said', () => {
    expect(read(['--help', '--host', '0.0.0.0']).help).toBe(true);
  });
});
