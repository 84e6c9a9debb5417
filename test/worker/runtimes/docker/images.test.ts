import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Preparer } from '../../../../apps/worker/src/runtimes/contract/runtime.ts';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { fill } from '../../../conformance/snapshots.ts';
import {
  IMAGES,
  makeBareImage,
  makeImage,
  pinned,
  removeImage,
  removeMadeImages,
  whyNoEngine,
} from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

const why = await whyNoEngine();

describe.skipIf(why !== null)('the image of a version', () => {
  const tag = `pilum-test-${randomUUID()}:1`;
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    kept.add(null, removeMadeImages);
    bench = kept.add(await Bench.of(await dockerUnderTest()), (b) => b.open.close());
  });
  afterEach(async () => {
    await bench.clear();
    await removeImage(tag);
  });

  const prepare = async (image: string, { of = bench, command }: { of?: Bench; command?: string[] } = {}) => {
    const { spec } = fill({ runtime: 'docker', protocol: 'stdio', code: { image }, ...(command ? { command } : {}) });
    const signal = new AbortController().signal;
    return (await (of.open.runtime.preparer as Preparer).prepare(spec, { signal, onProgress: () => undefined })).image;
  };
  const runs = async (image: PinnedImage) => {
    const one = await Bench.of(await dockerUnderTest({}, { command: image }));
    try {
      return (await one.once({ withoutCode: true, protocol: 'stdio' })).value;
    } finally {
      await one.open.close();
    }
  };

  test('is found on this machine without a registry, and pinned by its id', async () => {
    const image = await prepare(IMAGES.busybox);
    expect(image).toEqual({ ...(await pinned(IMAGES.busybox)), sizeBytes: expect.any(Number) });
    expect(await prepare(image.id)).toMatchObject({ id: image.id });
  });

  test('is run as it was when it was deployed, also when its name means another one', async () => {
    await makeImage(tag, IMAGES.busybox, ['CMD ["echo", "first"]']);
    const first = await prepare(tag);
    await makeImage(tag, IMAGES.busybox, ['CMD ["echo", "second"]']);
    const second = await prepare(tag);
    expect(second.id).not.toBe(first.id);
    expect(await runs(first)).toBe('first\n');
    expect(await runs(second)).toBe('second\n');
    await removeImage(first.id);
  });

  test('that was removed from this machine, and that no registry has, fails the start and says so', async () => {
    await makeImage(tag, IMAGES.busybox, ['CMD ["echo", "gone"]', 'LABEL unique=gone']);
    const image = await prepare(tag);
    expect(await runs(image)).toBe('gone\n');
    await removeImage(tag);
    await expect(runs(image)).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining('is not on the machine of this worker any more'),
    });
  });

  test.for([
    ['localhost:1/nowhere:1', 'unreachable'],
    [`sha256:${'0'.repeat(64)}`, 'not-found'],
    ['UPPER/case:1', 'invalid'],
  ])('%s cannot be had: %s', async ([reference = '', reason]) => {
    await expect(prepare(reference)).rejects.toMatchObject({ code: 'IMAGE_UNAVAILABLE', details: { reason } });
  });

  test('with PILUM_DOCKER_PULL=always is what the registry says, and nothing where that is away', async () => {
    await makeImage('localhost:1/pilum-test:1', IMAGES.busybox);
    const always = await Bench.of(await dockerUnderTest({ pull: 'always' }));
    await expect(prepare('localhost:1/pilum-test:1', { of: always })).rejects.toMatchObject({
      code: 'IMAGE_UNAVAILABLE',
      details: { reason: 'unreachable' },
    });
    expect(await prepare('localhost:1/pilum-test:1')).toMatchObject({ digest: null });
    await always.open.close();
    await removeImage('localhost:1/pilum-test:1');
  });

  test('of a private registry is asked for with the name and the password of the credentials file', async () => {
    const seen: string[] = [];
    const registry = createServer((request, response) => {
      seen.push(request.headers.authorization ?? 'nothing');
      response.setHeader('www-authenticate', 'Basic realm="test"');
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
    }).listen(0, '127.0.0.1');
    await once(registry, 'listening');
    const name = `localhost:${(registry.address() as AddressInfo).port}`;
    const credentialsFile = join(temporaryDirectory(), 'config.json');
    const auth = Buffer.from('ann:pass:word').toString('base64');
    await writeFile(credentialsFile, JSON.stringify({ auths: { [name]: { auth } } }));
    const known = await Bench.of(await dockerUnderTest({ credentialsFile }));
    try {
      await expect(prepare(`${name}/private:1`, { of: known })).rejects.toMatchObject({
        code: 'IMAGE_UNAVAILABLE',
        message: expect.stringContaining('PILUM_DOCKER_CREDENTIALS'),
        details: { reason: 'denied' },
      });
      expect(seen).toContain(`Basic ${auth}`);
    } finally {
      await known.open.close();
      registry.closeAllConnections();
      registry.close();
    }
  });

  test('says who its processes are, by number; a name may stand for root and is looked up', async () => {
    const userOf = async (user: string, from: string = IMAGES.debian) => {
      await makeImage(tag, from, [`USER ${user}`, 'CMD ["id"]']);
      return (await prepare(tag)).user;
    };
    expect(await userOf('1234:77')).toBe('1234:77');
    expect(await userOf('www-data')).toBe('33:33');
    expect(await userOf('www-data:games')).toBe('33:60');
    expect(await userOf('node', IMAGES.node)).toBe('1000:1000');
    for (const root of ['root', '0', '0:0', '000', ':60']) {
      await expect(userOf(root)).rejects.toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining('root') });
    }
    for (const unknown of ['nobody-knows', 'www-data:nobody-knows', '-1']) {
      await expect(userOf(unknown)).rejects.toMatchObject({ code: 'IMAGE_UNAVAILABLE', details: { reason: 'user' } });
    }
  });

  test('without a command of its own needs one in the spec', async () => {
    await makeBareImage(tag);
    await expect(prepare(tag)).rejects.toMatchObject({ code: 'IMAGE_UNAVAILABLE', details: { reason: 'no-command' } });
    expect(await prepare(tag, { command: ['true'] })).toMatchObject({ reference: tag });
  });
});
