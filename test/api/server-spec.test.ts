import type { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { describe, expect, it } from 'vitest';
import { resolveSpec } from '../../apps/api/src/artifacts/resolve-spec.ts';

const options = { allowHostNetwork: true, images: { node: 'node', python: 'python' } };
const server = (more: object): ArtifactSpecInput =>
  ({ runtime: 'process', protocol: 'http', command: ['serve'], ...more }) as ArtifactSpecInput;

/** Where a spec is wrong, and how; null where it is right. */
function wrongIn(spec: ArtifactSpecInput): unknown {
  try {
    resolveSpec(spec, options);
    return null;
  } catch (error) {
    return (error as PilumError).details?.problems;
  }
}

describe('the spec of a server', () => {
  it('may have a port of its own', () => {
    expect(wrongIn(server({ http: { port: 3000, healthPath: '/healthz' } }))).toBeNull();
    expect(wrongIn(server({ runtime: 'docker', code: { image: 'nginx' }, http: { port: 80 } }))).toBeNull();
  });

  it.each([
    ['PORT, which would be overridden', { env: { PORT: '3000' } }, '/body/env/PORT', '{"http": {"port": 3000}}'],
    ['a port below 1024', { http: { port: 80 } }, '/body/http/port', '1024'],
    [
      'a port on a shared network',
      { http: { port: 3000 }, limits: { network: 'host' } },
      '/body/http/port',
      'another limits.network than host',
    ],
    ['a port of no server', { protocol: 'stdio', http: { port: 3000 } }, '/body/http', 'protocol http'],
  ])('is refused by name for %s', (_, more, where, what) => {
    expect(wrongIn(server(more))).toEqual([{ where, what: expect.stringContaining(what) }]);
  });

  it('is the only one that PORT is refused in', () => {
    expect(wrongIn(server({ protocol: 'stdio', env: { PORT: '3000' } }))).toBeNull();
  });
});

describe('the writable places of a spec', () => {
  const place = (path: string, sizeMiB = 1) => ({ path, sizeMiB });

  it('are any that are not the machine’s', () => {
    const writable = [place('/var/lib/nginx', 16), place('/run'), place('/home/own.d/x_y')];
    expect(wrongIn(server({ writable }))).toBeNull();
    const inImage = [place('/usr/share/own'), place('/etc/nginx')];
    expect(wrongIn(server({ runtime: 'docker', code: { image: 'nginx' }, writable: inImage }))).toBeNull();
  });

  it.each([
    [[place('/usr/share/own')], '/body/writable/0/path', '/usr'],
    [[place('/tmp/own')], '/body/writable/0/path', '/tmp'],
    [[place('/proc')], '/body/writable/0/path', '/proc'],
    [[place('/code/cache')], '/body/writable/0/path', '/code'],
    [[place('/run'), place('/run/own')], '/body/writable/1/path', '/run'],
    [[place('/run', 16_384), place('/srv')], '/body/writable', '16385 MiB'],
  ])('are refused by name: %j', (writable, where, what) => {
    expect(wrongIn(server({ writable }))).toEqual([{ where, what: expect.stringContaining(what) }]);
  });

  it.each(['var', '/', '/var/', '//var', '/var/../etc', '/var/./x', '/a b', '/a:b', '/a,b', '/a\0b'])(
    'are paths as the kernel has them, and not %j',
    (path) => {
      expect(matches(ArtifactSpecInput, server({ writable: [place(path)] }))).toBe(false);
    },
  );
});
