import { randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { secretKeys } from '@pilum/core/redis/keys.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { SecretKeys } from '@pilum/core/secrets/secret-keys.ts';
import { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis } from '../support/redis.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';

const OLD = SecretKeys.generate();
const NEW = SecretKeys.generate();
const keysOf = (...keys: string[]) => SecretKeys.parse(keys.join('\n'), 'a test');
const PLACE = { namespace: 'default', name: 'db-password', version: 3 };

describe('keys for secrets', () => {
  it('open what they have sealed, in its place and nowhere else', () => {
    const keys = keysOf(OLD);
    const box = keys.seal(PLACE, Buffer.from('hunter2'));
    expect(box).not.toContain('hunter2');
    expect(keys.open(PLACE, box).toString()).toBe('hunter2');
    for (const other of [{ namespace: 'other' }, { name: 'api-key' }, { version: 4 }]) {
      expect(() => keys.open({ ...PLACE, ...other }, box)).toThrow(/does not open/);
    }
    // Nor once a byte of it has changed, or is missing.
    const [form, id, nonce, body = ''] = box.split('.');
    for (const changed of [`${body.slice(0, -2)}AA`, body.slice(0, 4), '']) {
      expect(() => keys.open(PLACE, [form, id, nonce, changed].join('.'))).toThrow(/does not open/);
    }
    expect(keys.seal(PLACE, Buffer.from('hunter2')), 'a nonce of its own for each').not.toBe(box);
  });

  it('encrypt with the first and decrypt with all of them', () => {
    const box = keysOf(OLD).seal(PLACE, Buffer.from('hunter2'));
    const both = keysOf(NEW, OLD);
    expect(both.open(PLACE, box).toString()).toBe('hunter2');
    expect(
      keysOf(NEW)
        .open(PLACE, both.seal(PLACE, Buffer.from('x')))
        .toString(),
    ).toBe('x');
    expect(() => keysOf(NEW).open(PLACE, box)).toThrow(expect.objectContaining({ code: 'SECRETS_UNAVAILABLE' }));
    expect(both.ids).toEqual([keysOf(NEW).firstId, keysOf(OLD).firstId]);
  });

  it('are read as base64 or hex, with comments, and refused without being shown', () => {
    const bytes = randomBytes(32);
    const same = [bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex')].map((text) =>
      SecretKeys.parse(`# the key of 2026\n${text} # first\n`, 'a test'),
    );
    expect(new Set(same.map(({ firstId }) => firstId)).size).toBe(1);
    for (const wrong of ['', '# none', 'tooshort', bytes.toString('base64').slice(4), `${OLD},${'x'.repeat(44)}`]) {
      expect(() => SecretKeys.parse(wrong, 'a test')).toThrow(/^a test has (no|a) key/);
      if (wrong.length > 8) expect(() => SecretKeys.parse(wrong, 'a test')).not.toThrow(wrong);
    }
  });
});

describe('a source of keys', () => {
  const file = () => join(makeTemporaryDirectory(), 'keys');

  it('reads its file again when that has changed, and goes on with what it had where that is no key', () => {
    const path = file();
    const errors: unknown[] = [];
    writeFileSync(path, OLD);
    const source = KeySource.open({ SECRETS_KEY_FILE: path }, (error) => errors.push(error));
    expect(source.require().firstId).toBe(keysOf(OLD).firstId);
    writeFileSync(`${path}.new`, `${NEW}\n${OLD}`);
    renameSync(`${path}.new`, path);
    expect(source.require().firstId).toBe(keysOf(NEW).firstId);
    writeFileSync(path, 'nothing of the kind');
    expect(source.require().firstId).toBe(keysOf(NEW).firstId);
    expect(errors).toHaveLength(1);
  });

  it('says at the start what is wrong, and is none where nothing is set', () => {
    const open = (settings: Parameters<typeof KeySource.open>[0]) => KeySource.open(settings, () => undefined);
    expect(() => open({ SECRETS_KEY_FILE: file() })).toThrow(/PILUM_SECRETS_KEY_FILE could not be read/);
    expect(() => open({ SECRETS_KEY: 'short' })).toThrow(/PILUM_SECRETS_KEY has a key/);
    expect(() => open({ SECRETS_KEY: OLD, SECRETS_KEY_FILE: '/x' })).toThrow(/two places/);
    expect(open({}).current()).toBeNull();
    expect(() => open({}).require()).toThrow(expect.objectContaining({ code: 'SECRETS_UNAVAILABLE' }));
  });
});

describe('the store of secrets', () => {
  let redis: Redis;
  let store: SecretStore;
  const kept = keep();
  const keys = keysOf(OLD);
  const set = (name: string, value: string) => store.set('default', name, Buffer.from(value), 'admin', keys);
  beforeAll(async () => {
    const server = kept.add(await startRedis());
    redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
    store = new SecretStore(redis);
  });
  beforeEach(async () => {
    await redis.flushall();
  });

  it('gives each change a version that was never there, and keeps the box of the last', async () => {
    const first = await set('a', 'one');
    const second = await set('a', 'two');
    await store.remove('default', 'a', false);
    const third = await set('a', 'three');
    expect([first, second, third].map(({ record, isNew }) => [record.version, isNew])).toEqual([
      [1, true],
      [2, false],
      [3, true],
    ]);
    expect(await redis.hkeys(secretKeys('default').boxes)).toEqual(['a@3']);
    expect((await store.open('default', 'a', keys)).value.toString()).toBe('three');
  });

  it('has one of many values that are set at once, and its box alone', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => set('a', `value ${i}`)));
    const { version, value } = await store.open('default', 'a', keys);
    expect(version).toBe(50);
    expect(value.toString()).toMatch(/^value \d+$/);
    expect(await redis.hkeys(secretKeys('default').boxes)).toEqual(['a@50']);
  });

  it('notes all secrets of an artifact or none, and keeps what is used', async () => {
    await set('a', 'one');
    await expect(store.refer({ namespace: 'default', artifactId: 'web' }, ['a', 'b'])).rejects.toMatchObject({
      code: 'SECRET_NOT_FOUND',
    });
    expect((await store.list('default')).map(({ usedBy }) => usedBy)).toEqual([[]]);
    await store.refer({ namespace: 'default', artifactId: 'web' }, ['a']);
    await expect(store.remove('default', 'a', false)).rejects.toMatchObject({
      code: 'SECRET_IN_USE',
      details: { artifacts: ['web'] },
    });
    await store.remove('default', 'a', true);
    await expect(store.open('default', 'a', keys)).rejects.toMatchObject({ code: 'SECRET_NOT_FOUND' });
  });

  it('encrypts everything under the first key when it is told to, without a new version', async () => {
    await set('a', 'one');
    await store.set('other', 'b', Buffer.from('two'), 'admin', keys);
    const both = keysOf(NEW, OLD);
    expect(await store.rotate(both)).toBe(2);
    expect(await store.rotate(both)).toBe(0);
    expect([...(await store.countByKey())]).toEqual([[both.firstId, 2]]);
    expect(await store.open('default', 'a', keysOf(NEW))).toMatchObject({ version: 1, value: Buffer.from('one') });
    await expect(store.open('default', 'a', keys)).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE' });
    await expect(store.rotate(keysOf(SecretKeys.generate()))).rejects.toMatchObject({ code: 'SECRETS_UNAVAILABLE' });
  });
});
