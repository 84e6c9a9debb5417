import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { waitFor } from '../support/wait-for.ts';
import { uniqueMarker } from './processes.ts';
import type { Bench, RuntimeUnderTest, TestInstance } from './runtime-under-test.ts';

/** What a function must not be able to do to the machine, to other functions, or to the worker. */
export function isolationContract(bench: () => Bench, subject: RuntimeUnderTest): void {
  const shell = async (instance: TestInstance, script: string) =>
    (await instance.call({ script })).value as { status: number; stdout: string; stderr: string };

  test('a function cannot read what belongs to the machine', async () => {
    const instance = await bench().start({ entry: 'file.mjs' });
    const marker = `pilum-secret-${uniqueMarker()}`;
    const secrets = [join('/var/tmp', marker), join(tmpdir(), marker), join(process.cwd(), 'node_modules', marker)];
    for (const path of secrets) writeFileSync(path, 'secret', { mode: 0o644 });
    onTestFinished(() => secrets.forEach((path) => void rmSync(path)));
    // An image has directories of the same names, with what is its own in them.
    const ofMachine = subject.ownRoot ? [] : ['/var/log/dpkg.log', '/sys/fs'];
    for (const path of [...secrets, '/etc/shadow', '/root/.profile', `${process.cwd()}/package.json`, ...ofMachine]) {
      expect((await instance.call({ read: path })).value, path).toEqual({
        error: expect.stringMatching(/ENOENT|EACCES/),
      });
    }
    if (subject.ownRoot) return;
    const passwd = (await instance.call({ read: '/etc/passwd' })).value as { value: string };
    expect(passwd.value.split('\n').filter(Boolean)).toHaveLength(2);
  });

  test('a function writes where its version says so, no more than it says, and nowhere else', async () => {
    const writable = [
      { path: '/var/cache/own', sizeMiB: 4 },
      { path: '/srv/data', sizeMiB: 16 },
    ];
    const script = `
      set -e
      echo kept > /var/cache/own/file; cp /var/cache/own/file /srv/data/; cat /srv/data/file
      head -c 8000000 /dev/zero > /srv/data/fits; echo fits
      if head -c 8000000 /dev/zero > /var/cache/own/large; then echo too much; else echo full; fi 2>/dev/null
      for place in /var/cache /srv /; do if touch $place/x 2>/dev/null; then echo $place; fi; done`;
    const command = ['/bin/sh', '-c', script];
    const whole = await bench().once({ protocol: 'stdio', command, writable });
    expect(whole.value).toBe('kept\nfits\nfull\n');
    const instance = await bench().start({ entry: 'shell.mjs', writable });
    const look = 'ls -A /var/cache/own /srv/data; touch /srv/data/a && echo written';
    expect((await shell(instance, look)).stdout).toBe('/srv/data:\n\n/var/cache/own:\nwritten\n');
  });

  test('a function cannot make the system calls that exploits begin with', async () => {
    const { value } = await bench().once({ language: 'python', entry: 'calls.py' });
    // An image is behind the Engine's own filter, which other releases of it draw otherwise.
    const always = { keyctl: 'EPERM', request_key: 'EPERM', perf_event_open: 'EPERM', bpf: 'EPERM' };
    const own = { io_uring_setup: 'EPERM', userfaultfd: 'EPERM', ptrace: 'EPERM', pidfd_getfd: 'EPERM' };
    const others = { clone3: 'ENOSYS', vsock: 'EAFNOSUPPORT' };
    expect(value).toMatchObject(subject.ownRoot ? always : { ...always, ...own, ...others });
  });

  test('a function is no one in particular, with no capabilities and no way to get any', async () => {
    const instance = await bench().start({ entry: 'shell.mjs' });
    const { stdout } = await shell(
      instance,
      'id -u; hostname; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status',
    );
    expect(stdout).toMatch(/^1000\npilum\n/);
    expect(stdout).toContain('CapEff:\t0000000000000000');
    expect(stdout).toContain('NoNewPrivs:\t1');
    expect((await shell(instance, 'unshare -U true')).status).not.toBe(0);
    expect((await shell(instance, 'su -c true')).status).not.toBe(0);
  });

  test('a function writes to /tmp and nowhere else, and to no more than limits.diskMiB', async () => {
    const instance = await bench().start({ entry: 'file.mjs', limits: { diskMiB: 4 } });
    for (const path of ['/x', '/code/x', '/etc/x', '/usr/x', '/dev/x', '/pilum/x', '/proc/x', '/home/x', '/var/x']) {
      const { error } = (await instance.call({ write: path, text: 'x' })).value as { error?: string };
      expect(error, path).toMatch(/EROFS|EACCES|ENOENT|EPERM/);
    }
    expect((await instance.call({ write: '/tmp/x', text: 'x' })).value).toEqual({ value: 'written' });
    const tooMuch = await bench().start({ entry: 'shell.mjs', limits: { diskMiB: 4 } });
    const { stdout } = await shell(
      tooMuch,
      'for i in 1 2 3; do head -c 3000000 /dev/zero > /tmp/$i; done 2>/dev/null; du -k /tmp | tail -1',
    );
    expect(Number.parseInt(stdout, 10)).toBeLessThanOrEqual(4096);
  });

  test('an instance sees neither files nor processes of another, of the same function or not', async () => {
    const first = await bench().start({ entry: 'shell.mjs' });
    const second = await bench().start({ entry: 'shell.mjs' });
    await shell(first, 'echo secret > /tmp/mine; echo secret > /dev/shm/mine; (sleep 60 & ) >/dev/null 2>&1');
    expect((await shell(second, 'ls -A /tmp /dev/shm | grep mine')).stdout).toBe('');
    const { stdout } = await shell(
      second,
      'cat /proc/[0-9]*/cmdline | tr "\\0" " "; echo; ls /proc | grep -c "^[0-9]"',
    );
    expect(stdout).not.toContain('sleep 60');
    expect(Number(stdout.trim().split('\n').at(-1))).toBeLessThan(10);
  });

  test('a function has no descriptors but its own', async () => {
    const instance = await bench().start({ entry: 'shell.mjs' });
    // 0, 1 and 2 are those that the function itself gave it; 3, the channel, is not for children.
    const { stdout } = await shell(instance, 'cd /proc/$$/fd; for fd in *; do echo "$fd $(readlink $fd)"; done');
    const sockets = stdout.split('\n').filter((line) => /socket|\/(etc|root|work|home|proc)/.test(line));
    expect(sockets.map((line) => line.split(' ')[0])).toEqual(['0', '1', '2']);
  });

  test('a function has no network: a listener on the host is out of reach', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const target = { host: '127.0.0.1', port };
    try {
      expect((await bench().once({ entry: 'connect.mjs' }, target)).value).toMatch(/ECONNREFUSED|ENETUNREACH/);
      expect((await bench().once({ entry: 'connect.mjs' }, { host: '1.1.1.1', port: 53 })).value).toBe('ENETUNREACH');
      // The listener was there all the time: with the host's network, where that is granted, it answers.
      const granted = { entry: 'connect.mjs', limits: { network: 'host' } } as const;
      expect((await bench().once(granted, target)).value).toBe('connected');
    } finally {
      server.close();
    }
  });

  test('a fork bomb is held, ended, and no other function feels it', async () => {
    const bomb = await bench().start({ entry: 'fork-bomb.mjs' });
    const other = await bench().start({ entry: 'shell.mjs' });
    const call = bomb.call({}).catch((error) => error);
    await waitFor(() => bomb.log.length > 0);
    const since = performance.now();
    while (performance.now() - since < 1000) expect((await shell(other, 'echo fine')).stdout).toBe('fine\n');
    await bomb.stop(100);
    expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
    expect(await bench().open.leftovers(bomb.instance.instanceId)).toEqual([]);
    expect((await shell(other, 'echo fine')).stdout).toBe('fine\n');
  });
}
