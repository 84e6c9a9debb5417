import { networkInterfaces } from 'node:os';
import { type AllowedTarget, parseAllowed } from '@pilum/core/spec/networks.ts';
import { describe, expect, it } from 'vitest';
import {
  inInterfaces,
  localInRoutes,
  readOwnAddresses,
} from '../../../apps/worker/src/runtimes/sandbox/network/relay/own-addresses.ts';
import { Policy } from '../../../apps/worker/src/runtimes/sandbox/network/relay/policy.ts';
import { World } from '../../../apps/worker/src/runtimes/sandbox/network/relay/world.ts';

const world = (denied: AllowedTarget[] = []) => new World({ denied, guarded: [] });
const policyOf = (allow: readonly string[], denied: AllowedTarget[] = []) =>
  new Policy({ isPublicOpen: false, targets: allow.map(parseAllowed) }, world(denied));
const egress = (denied: AllowedTarget[] = []) => new Policy({ isPublicOpen: true, targets: [] }, world(denied));

describe('what an instance may reach', () => {
  it.each([
    ...['127.0.0.1', '127.1.2.3', '0.0.0.0', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1'],
    ...['169.254.169.254', '168.63.129.16', '192.0.0.192', '224.0.0.1', '255.255.255.255', '198.18.0.1'],
    ...['::', '::1', '::ffff:8.8.8.8', '::127.0.0.1', 'fe80::1', 'fd00:ec2::254', 'fc00::1', 'ff02::1'],
    ...['64:ff9b::7f00:1', '2002:7f00:1::1', '2001::1', 'fec0::1'],
  ])('egress does not open %s', (address) => {
    expect(egress().admit(address, 443)).toMatchObject({ isOpen: false });
  });

  it.each(['8.8.8.8', '172.15.0.1', '172.32.0.1', '2606:4700:4700::1111'])('egress opens %s', (address) => {
    expect(egress().admit(address, 443)).toMatchObject({ isOpen: true });
  });

  it('egress opens none of the addresses that this machine has', () => {
    const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
    expect(own.length).toBeGreaterThan(0);
    for (const { address } of own) expect(egress().admit(address, 443), address).toMatchObject({ isOpen: false });
  });

  it('a list opens the addresses and ports that it names, and no others', () => {
    const policy = policyOf(['10.1.2.3:5432', '10.2.0.0/16', '[fd00::1]:5432']);
    const open = (address: string, port: number) => policy.admit(address, port).isOpen;
    expect([
      open('10.1.2.3', 5432),
      open('10.2.255.1', 1),
      open('fd00::1', 5432),
      open('fd00:0:0:0:0:0:0:1', 5432),
    ]).toEqual([true, true, true, true]);
    expect([open('10.1.2.3', 5433), open('10.3.0.0', 1), open('fd00::2', 5432), open('8.8.8.8', 443)]).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it('a wildcard is for the names below it, not for itself, nor for those that end like it', () => {
    const policy = policyOf(['*.example.com:443', 'one.example:80', 'one.example:81', 'all.example']);
    expect(policy.portsOf('a.example.com')).toEqual(new Set([443]));
    expect(policy.portsOf('a.b.example.com')).toEqual(new Set([443]));
    expect(policy.portsOf('example.com')).toBeUndefined();
    expect(policy.portsOf('evilexample.com')).toBeUndefined();
    expect(policy.portsOf('example.com.evil.test')).toBeUndefined();
    expect(policy.portsOf('one.example')).toEqual(new Set([80, 81]));
    expect(policy.portsOf('all.example')).toBeNull();
  });

  it('an address is open when a name was answered with it, on the ports of that name, if it is public', () => {
    const policy = policyOf(['one.example:443', '10.1.2.3:5432']);
    expect(policy.admit('8.8.8.8', 443).isOpen).toBe(false);
    policy.open(['8.8.8.8', '8.8.4.4'], new Set([443]), 1);
    expect(policy.admit('8.8.8.8', 443)).toEqual({ isOpen: true, others: ['8.8.4.4'] });
    expect(policy.admit('8.8.8.8', 80).isOpen).toBe(false);
    policy.open(['10.1.2.3'], null, 1);
    expect([policy.admit('10.1.2.3', 22).isOpen, policy.admit('10.1.2.3', 5432).isOpen]).toEqual([false, true]);
    expect([
      policy.mayBe('8.8.8.8'),
      policy.mayBe('10.1.2.3'),
      policy.mayBe('10.1.2.4'),
      policy.mayBe('127.0.0.1'),
    ]).toEqual([true, true, false, false]);
  });

  it('remembers the addresses of a bounded number of answers', () => {
    const policy = policyOf(['*.example.com']);
    for (let n = 0; n < 5000; n++) policy.open([`9.9.${n >> 8}.${n & 255}`], null, 60);
    expect(policy.admit('9.9.0.0', 443).isOpen).toBe(false);
    expect(policy.admit('9.9.19.135', 443).isOpen).toBe(true);
  });

  it('what the operator has closed stays closed, whatever a list names', () => {
    const denied = [parseAllowed('10.0.0.0/8'), parseAllowed('8.8.8.8')];
    expect(policyOf(['10.1.2.3:5432'], denied).admit('10.1.2.3', 5432).isOpen).toBe(false);
    expect(egress(denied).admit('8.8.8.8', 443).isOpen).toBe(false);
  });

  it("Pilum's own servers are closed at every address of this machine, whatever a list names", async () => {
    // Interfaces of containers come and go meanwhile.
    const before = readOwnAddresses();
    const guarding = new World({ denied: [], guarded: [{ host: '127.0.0.1', port: 6379 }] });
    await guarding.open();
    const policy = new Policy({ isPublicOpen: false, targets: before.map(parseAllowed) }, guarding);
    const verdicts = before.map(
      (address) => [address, policy.admit(address, 6379), policy.admit(address, 6380)] as const,
    );
    const still = new Set(readOwnAddresses());
    expect(still.size).toBeGreaterThan(0);
    for (const [address, ofRedis, ofOthers] of verdicts) {
      if (!still.has(address)) continue;
      expect(ofRedis, address).toEqual({ isOpen: false, why: "Pilum's own" });
      expect(ofOthers, address).toMatchObject({ isOpen: true });
    }
  });
});

describe('the addresses of this machine', () => {
  it('are those of devices that are down as well', () => {
    const trie = [
      'Local:',
      '  +-- 172.16.0.0/12 3 2 6',
      '     |-- 172.17.0.0',
      '        /16 link UNICAST',
      '     |-- 172.17.0.1',
      '        /32 host LOCAL',
      '     |-- 172.17.255.255',
      '        /32 link BROADCAST',
      '',
    ].join('\n');
    expect(localInRoutes(trie)).toEqual(['172.17.0.1']);
    const table =
      'fe80000000000000004273fffeca2647 5c6 40 20 80 docker0\n00000000000000000000000000000001 01 80 10 80       lo\n';
    expect(inInterfaces(table)).toEqual([
      'fe80:0000:0000:0000:0042:73ff:feca:2647',
      '0000:0000:0000:0000:0000:0000:0000:0001',
    ]);
    expect(readOwnAddresses()).toEqual(expect.arrayContaining(['127.0.0.1']));
  });
});
