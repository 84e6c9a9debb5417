import { expect, test } from 'vitest';
import {
  bubblewrapArguments,
  encodeArguments,
  type SandboxProfile,
} from '../../../apps/worker/src/runtimes/sandbox/bubblewrap.ts';

const profile: SandboxProfile = {
  layout: { symlinks: [{ path: '/bin', target: 'usr/bin' }], visible: ['/usr', '/etc/ld.so.cache'] },
  features: { disableUserns: true, size: true, perms: true },
  readOnly: [{ from: '/var/cache/pilum/code/abc', to: '/code' }],
  env: { LEVEL: 'debug' },
  workingDirectory: '/code',
  network: 'none',
  diskMiB: 2,
};
const argumentsOf = (change: Partial<SandboxProfile> = {}) =>
  ` ${bubblewrapArguments({ ...profile, ...change }).join(' ')} `;

test('every namespace is the sandbox’s own', () => {
  for (const namespace of ['user', 'pid', 'ipc', 'uts', 'net'])
    expect(argumentsOf()).toContain(` --unshare-${namespace} `);
  expect(argumentsOf()).toContain(' --unshare-cgroup-try ');
  expect(argumentsOf()).toContain(' --disable-userns ');
  expect(argumentsOf()).toContain(' --die-with-parent ');
  expect(argumentsOf()).toContain(' --new-session ');
  expect(argumentsOf()).toContain(' --clearenv ');
});

test('all that is bound of the host is bound read-only, and the root is closed last', () => {
  const args = bubblewrapArguments(profile);
  expect(args.filter((arg) => /^--(dev-)?bind/.test(arg))).toEqual([]);
  expect(args.lastIndexOf('--ro-bind')).toBeLessThan(args.lastIndexOf('--remount-ro'));
  expect(argumentsOf()).toContain(' --ro-bind /var/cache/pilum/code/abc /code ');
  expect(argumentsOf()).toContain(' --remount-ro /dev --remount-ro / ');
});

test('what can be written to has a size', () => {
  expect(argumentsOf()).toContain(' --perms 1777 --size 2097152 --tmpfs /tmp ');
  expect(argumentsOf()).toContain(' --perms 1777 --size 2097152 --tmpfs /dev/shm ');
});

test('the host’s network comes with the files that it takes to use it, and only where it is asked for', () => {
  expect(argumentsOf({ network: 'host' })).not.toContain('--unshare-net');
  expect(argumentsOf({ network: 'host' })).toContain(' --ro-bind-try /etc/resolv.conf /etc/resolv.conf ');
  expect(argumentsOf()).not.toContain('resolv.conf');
});

test('an older bubblewrap gets only what it knows', () => {
  const old = argumentsOf({ features: { disableUserns: false, size: false, perms: false } });
  expect(old).not.toMatch(/--disable-userns|--size|--perms/);
  expect(old).toContain(' --tmpfs /tmp ');
});

test('arguments travel with a zero after each', () => {
  expect(encodeArguments(['--setenv', 'A', 'b c']).toString()).toBe('--setenv\0A\0b c\0');
});

test('no argument becomes two, however it came there', () => {
  for (const value of ['x\0--bind\0/\0/tmp', '\0', 'x\0', '\ud800']) {
    const args = bubblewrapArguments({ ...profile, env: { LEVEL: value } });
    expect(() => encodeArguments(args)).toThrow(expect.objectContaining({ code: 'INSTANCE_START_FAILED' }));
  }
});
