import type { PilumError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
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
    ['a port on a shared network', { http: { port: 3000 }, limits: { network: 'host' } }, '/body/http/port', 'none'],
    ['a port of no server', { protocol: 'stdio', http: { port: 3000 } }, '/body/http', 'protocol http'],
  ])('is refused by name for %s', (_, more, where, what) => {
    expect(wrongIn(server(more))).toEqual([{ where, what: expect.stringContaining(what) }]);
  });

  it('is the only one that PORT is refused in', () => {
    expect(wrongIn(server({ protocol: 'stdio', env: { PORT: '3000' } }))).toBeNull();
  });
});
