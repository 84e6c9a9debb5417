import { parseAllowed } from '@pilum/core/spec/networks.ts';
import { describe, expect, it } from 'vitest';

const name = (of: string, port: number | null = null, isWildcard = false) => ({
  kind: 'name',
  name: of,
  isWildcard,
  port,
});
const addresses = (address: string, prefix: number, port: number | null = null) => ({
  kind: 'addresses',
  address,
  prefix,
  family: address.includes(':') ? 'ipv6' : 'ipv4',
  port,
});

describe('an entry of the list of what a network opens', () => {
  it.each([
    ['api.example.com', name('api.example.com')],
    ['API.Example.com:443', name('api.example.com', 443)],
    ['bücher.example', name('xn--bcher-kva.example')],
    ['*.s3.amazonaws.com:443', name('s3.amazonaws.com', 443, true)],
    ['db', name('db')],
    ['_srv.example.com', name('_srv.example.com')],
    ['10.1.2.3:5432', addresses('10.1.2.3', 32, 5432)],
    ['10.1.0.0/16', addresses('10.1.0.0', 16)],
    ['10.1.0.0/16:5432', addresses('10.1.0.0', 16, 5432)],
    ['::1', addresses('::1', 128)],
    ['fd00::/64', addresses('fd00::', 64)],
    ['[fd00::1]:5432', addresses('fd00::1', 128, 5432)],
    ['[fd00::/64]:80', addresses('fd00::', 64, 80)],
  ])('%s is read', (entry, expected) => {
    expect(parseAllowed(entry)).toEqual(expected);
  });

  it.each([
    ['0.0.0.0/0', 'prefix'],
    ['10.0.0.0/33', 'prefix'],
    ['::/0', 'prefix'],
    ['a.example:0', 'port'],
    ['a.example:65536', 'port'],
    ['a.example:+1', 'port'],
    ['*', 'whole labels'],
    ['*.com', 'two labels'],
    ['a.*.example', 'whole labels'],
    ['*a.example.com', 'whole labels'],
    ['https://a.example', 'port'],
    ['a.example/path', 'prefix'],
    ['user@a.example', 'URL'],
    ['a b.example', 'URL'],
    ['a..example', 'neither'],
    ['-a.example', 'neither'],
    ['1.2.3', 'neither'],
    ['0x7f.1', 'neither'],
    ['2130706433', 'neither'],
    ['::ffff:10.0.0.1', 'neither'],
    ['fe80::1%eth0', 'URL'],
    [`${'a'.repeat(64)}.example`, 'neither'],
    ['', 'neither'],
  ])('%s is refused, and it says why', (entry, why) => {
    expect(() => parseAllowed(entry)).toThrow(why);
  });
});
