// @needs docker
import { randomUUID } from 'node:crypto';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Preparer } from '../../../../apps/worker/src/runtimes/contract/runtime.ts';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { fill } from '../../../conformance/snapshots.ts';
import {
  engine,
  IMAGES,
  makeImage,
  removeImage,
  removeMadeImages,
  runPlain,
  whyNoEngine,
} from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';

const why = await whyNoEngine();

describe.skipIf(why !== null)('what an image says of itself', () => {
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

  const prepare = async (more: Partial<ArtifactSpecInput> = {}) => {
    const { spec } = fill({ runtime: 'docker', protocol: 'stdio', code: { image: tag }, ...more });
    const { signal } = new AbortController();
    return (await (bench.open.runtime.preparer as Preparer).prepare(spec, { signal, onProgress: () => undefined }))
      .image;
  };
  const runs = async (image: PinnedImage, more: Parameters<Bench['once']>[0] = {}) => {
    const one = await Bench.of(await dockerUnderTest({}, { command: image }));
    try {
      return (await one.once({ withoutCode: true, protocol: 'stdio', ...more })).value;
    } finally {
      await one.open.close();
    }
  };

  describe('its USER has the groups that it has under docker run', () => {
    const script = [
      'echo "root:x:0:0::/:" >/etc/passwd; echo "daemon:x:1:2::/:" >>/etc/passwd; echo "ann:x:1234:1234::/:" >>/etc/passwd',
      'echo "  bob:x:1500:x::/:" >>/etc/passwd',
      'echo "root:x:0:" >/etc/group; echo "shared:x:70:ann,daemon" >>/etc/group; echo "audio:x:71:root,ann" >>/etc/group',
    ].join('\n');
    test.for(['1001', 'ann', 'ann:shared', '1234', '1001:', 'bob'])('USER %s', async (user) => {
      const changes = [
        `USER ${user}`,
        'CMD ["sh", "-c", "id -u; id -g; for g in $(id -G); do echo $g; done | sort -un"]',
      ];
      await makeImage(tag, IMAGES.busybox, changes, script);
      expect(await runs(await prepare())).toBe(await runPlain(tag));
    });

    test.for(['nobody-knows', 'ann:nobody-knows'])('USER %s is in no image, and is named', async (user) => {
      await makeImage(tag, IMAGES.busybox, [`USER ${user}`, 'CMD ["id"]'], script);
      await expect(prepare()).rejects.toMatchObject({
        code: 'IMAGE_UNAVAILABLE',
        message: expect.stringContaining(`USER ${user}`),
        details: { reason: 'user' },
      });
    });

    test.for(['00:70', ':70'])('USER %s is root, and refused', async (user) => {
      await makeImage(tag, IMAGES.busybox, [`USER ${user}`, 'CMD ["id"]'], script);
      await expect(prepare()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    });
  });

  describe('its VOLUMEs', () => {
    // What is written is asked for in the same breath: it is gone with the instance.
    const fillUp = (path: string) =>
      `dd if=/dev/zero of=${path}/big bs=65536 count=160 2>/dev/null; wc -c <${path}/big`;
    const volumes = ['VOLUME ["/data", "/var/lib/two/", "three"]'];

    test.for(['/data', '/three'])('hold no more than diskMiB in %s', async (path) => {
      const image = await makeImage(tag, IMAGES.busybox, [...volumes, 'USER 1001:1001'], 'mkdir -m 700 /data /three');
      const before = await engine.listVolumes();
      const size = await runs(image, { command: ['sh', '-c', fillUp(path)], limits: { diskMiB: 4 } });
      expect(Number(size)).toBe(4 * 1024 * 1024);
      // None of the Engine's own is left either.
      expect((await engine.listVolumes()).Volumes.length).toBeLessThanOrEqual(before.Volumes.length);
    });

    test('have the size that the spec gives them', async () => {
      const image = await makeImage(tag, IMAGES.busybox, volumes, 'mkdir -m 755 /data');
      const writable = [{ path: '/data', sizeMiB: 2 }];
      expect(Number(await runs(image, { command: ['sh', '-c', fillUp('/data')], writable }))).toBe(2 * 1024 * 1024);
    });

    test.for(['/tmp', '/var/cache/app'])('a directory of the image at %s is one to write into', async (path) => {
      const image = await makeImage(tag, IMAGES.busybox, [], `rm -rf ${path}; mkdir -p ${path}; chmod 755 ${path}`);
      const writable = [{ path: '/var/cache/app', sizeMiB: 1 }];
      expect(await runs(image, { command: ['sh', '-c', `echo 1 >${path}/file; cat ${path}/file`], writable })).toBe(1);
    });

    test.for([
      ['a file', 'mkdir /data; echo 1 >/data/file', false],
      ['a directory', 'mkdir -p /data/inner', false],
      ['a link', 'mkdir /data; ln -s /etc /data/link', false],
      ['no directory', 'true', true],
    ] as const)('with %s in one', async ([, script, isFine]) => {
      await makeImage(tag, IMAGES.busybox, ['VOLUME ["/data/"]', 'CMD ["true"]'], script);
      const prepared = prepare();
      if (isFine) expect(await prepared).toMatchObject({ reference: tag });
      else await expect(prepared).rejects.toMatchObject({ code: 'IMAGE_UNAVAILABLE', details: { reason: 'volume' } });
      // Named by the spec it is wanted empty.
      expect(await prepare({ writable: [{ path: '/data', sizeMiB: 1 }] })).toMatchObject({ reference: tag });
    });
  });
});
