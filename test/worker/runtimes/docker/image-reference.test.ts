import { expect, test } from 'vitest';
import {
  credentialKeysOf,
  registryOf,
  withTag,
} from '../../../../apps/worker/src/runtimes/docker/images/image-reference.ts';
import { PullProgress } from '../../../../apps/worker/src/runtimes/docker/images/pull-progress.ts';

test.for([
  ['busybox', 'docker.io', 'busybox:latest'],
  ['busybox:1', 'docker.io', 'busybox:1'],
  ['library/busybox', 'docker.io', 'library/busybox:latest'],
  ['ghcr.io/a/b', 'ghcr.io', 'ghcr.io/a/b:latest'],
  ['registry.local:5000/a', 'registry.local:5000', 'registry.local:5000/a:latest'],
  ['localhost/a:2', 'localhost', 'localhost/a:2'],
  ['a/b@sha256:0123', 'docker.io', 'a/b@sha256:0123'],
] as const)('%s comes from %s and is pulled as %s', ([reference, registry, pulled]) => {
  expect(registryOf(reference)).toBe(registry);
  expect(withTag(reference)).toBe(pulled);
});

test('a credentials file may know a registry by several names', () => {
  expect(credentialKeysOf('docker.io')[0]).toBe('https://index.docker.io/v1/');
  expect(credentialKeysOf('ghcr.io')).toContain('https://ghcr.io');
});

test('the progress of a pull adds up its layers', () => {
  const progress = new PullProgress();
  progress.see({ status: 'Pulling from library/busybox' });
  for (const id of ['a', 'b', 'c']) progress.see({ id, status: 'Pulling fs layer' });
  progress.see({ id: 'a', status: 'Already exists' });
  progress.see({ id: 'b', status: 'Downloading', progressDetail: { current: 2 * 1048576, total: 8 * 1048576 } });
  expect(progress.text).toBe('1 of 3 layers, 2 of 8 MiB');
  progress.see({ id: 'b', status: 'Download complete' });
  expect(progress.text).toBe('2 of 3 layers, 8 of 8 MiB');
});
