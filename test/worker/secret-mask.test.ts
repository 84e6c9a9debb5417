import { inspect } from 'node:util';
import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { describe, expect, it } from 'vitest';
import { InstanceSecrets } from '../../apps/worker/src/runtimes/contract/instance-secrets.ts';
import { SecretMask } from '../../apps/worker/src/secrets/secret-mask.ts';

const PASSWORD = 'p"a/ß wörd$&';
const PEM = '-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n';
const mask = new SecretMask(
  new Map([
    ['db-password', Buffer.from(PASSWORD)],
    ['tls', Buffer.from(PEM)],
    ['pin', Buffer.from('1234')],
    ['bytes', Buffer.from([0xff, 0xfe, 0xfd, 1, 2, 3])],
  ]),
);

describe('a mask of secrets', () => {
  it('takes values out in the forms that they are printed in', () => {
    const forms = [
      PASSWORD,
      JSON.stringify({ password: PASSWORD }),
      `postgres://me:${encodeURIComponent(PASSWORD)}@db`,
      Buffer.from(PASSWORD).toString('base64'),
      Buffer.from(PASSWORD).toString('base64url'),
    ];
    for (const form of forms)
      expect(mask.text(`before ${form} after`)).toMatch(/^before .*\[secret db-password\].* after$/);
    expect(mask.text(PASSWORD + PASSWORD)).toBe('[secret db-password][secret db-password]');
    expect(mask.text(PEM)).toBe('[secret tls]');
    expect(mask.text('hkiG9w0BAQEFAASC')).toBe('[secret tls]');
    expect(mask.text(Buffer.from([0xff, 0xfe, 0xfd, 1, 2, 3]).toString('base64'))).toBe('[secret bytes]');
  });

  it('leaves alone what is too short to be told from other text, and what holds none', () => {
    expect(mask.text('1234')).toBe('1234');
    expect(mask.text('\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd')).not.toContain('secret');
  });

  it('looks into fields, errors and their details', () => {
    expect(mask.value({ a: [{ [PASSWORD]: PASSWORD, n: 1, none: null }] })).toEqual({
      a: [{ '[secret db-password]': '[secret db-password]', n: 1, none: null }],
    });
    const thrown = new InstanceError('OUT_OF_MEMORY', { message: `x ${PASSWORD}`, details: { stderr: PASSWORD } });
    const masked = mask.thrown(thrown);
    expect(masked).toBeInstanceOf(InstanceError);
    expect(masked).toMatchObject({ code: 'OUT_OF_MEMORY', message: 'x [secret db-password]' });
    expect(inspect(masked, { depth: 9 })).not.toContain(PASSWORD);
    const harmless = new InstanceError('OUT_OF_MEMORY');
    expect(mask.thrown(harmless)).toBe(harmless);
  });
});

it('secrets of an instance show their versions to whoever prints them, and no values', () => {
  const opened = new Map([['db', { version: 4, value: Buffer.from('hunter2hunter2') }]]);
  const secrets = new InstanceSecrets({ DB: { name: 'db' }, 'db.txt': { name: 'db', as: 'file' } }, opened);
  expect(secrets.variables).toEqual({ DB: 'hunter2hunter2' });
  expect(secrets.files).toEqual([{ name: 'db.txt', content: Buffer.from('hunter2hunter2') }]);
  for (const shown of [JSON.stringify(secrets), inspect(secrets, { depth: 9, showHidden: true }), `${secrets}`]) {
    expect(shown).not.toContain('hunter2');
    expect(shown).not.toContain(Buffer.from('hunter2').toString('hex').match(/../g)?.join(' '));
  }
  expect(JSON.stringify(secrets)).toContain('"db":4');
});
