import { existsSync } from 'node:fs';

/**
 * @typedef {(command: string, args: readonly string[], env?: NodeJS.ProcessEnv) => Promise<number>} Run
 *
 * @typedef {object} PackageManager
 * @property {string} program
 * @property {string[]} install Arguments that go before the packages.
 * @property {string[]} [refresh] Fetches the lists of packages.
 * @property {boolean} [refusesRoot]
 */

/** In the order in which they are looked for. @type {Readonly<Record<string, PackageManager>>} */
export const PACKAGE_MANAGERS = {
  apt: {
    program: 'apt-get',
    install: ['install', '-y', '-q', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120'],
    refresh: ['update', '-q', '-o', 'DPkg::Lock::Timeout=120'],
  },
  dnf: { program: 'dnf', install: ['install', '-y', '-q'] },
  apk: { program: 'apk', install: ['add', '-q'], refresh: ['update', '-q'] },
  pacman: { program: 'pacman', install: ['-S', '--noconfirm', '--needed'], refresh: ['-Sy', '--noconfirm'] },
  zypper: { program: 'zypper', install: ['--non-interactive', 'install'] },
  brew: { program: 'brew', install: ['install'], refusesRoot: true },
};

/** Debian starts a service that it installs. We start our own Redis, so nobody asked for that one. */
const DEBIAN_SERVICE = 'redis-server';

/**
 * Installs packages; asks for the lists of packages only when it does not work without.
 *
 * Debian's packages start their services at once, and there is no switch for it: the Redis service is masked while
 * its package is unpacked (systemd), or stopped again (elsewhere), and it does not start at boot.
 * @param {PackageManager} manager
 * @param {readonly string[]} packages
 * @param {readonly string[]} prefix `sudo -n`, or nothing.
 * @param {Run} run
 * @returns {Promise<boolean>} Whether it worked.
 */
export async function install(manager, packages, prefix, run) {
  const call = (/** @type {string[]} */ ...command) => {
    // env, because sudo cleans the environment. RUNLEVEL keeps System V's invoke-rc.d from starting services.
    const [first, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', ...command];
    return run(first, rest);
  };
  const service = manager === PACKAGE_MANAGERS.apt && packages.includes(DEBIAN_SERVICE);
  const systemd = existsSync('/run/systemd/system');
  if (service && systemd) await call('systemctl', 'mask', '--runtime', '--quiet', DEBIAN_SERVICE);
  try {
    const installation = [manager.program, ...manager.install, ...packages];
    if ((await call(...installation)) === 0) return true;
    if (manager.refresh === undefined) return false;
    await call(manager.program, ...manager.refresh);
    return (await call(...installation)) === 0;
  } finally {
    if (service && systemd) {
      await call('systemctl', 'unmask', '--runtime', '--quiet', DEBIAN_SERVICE);
    } else if (service && existsSync(`/etc/init.d/${DEBIAN_SERVICE}`)) {
      await call(`/etc/init.d/${DEBIAN_SERVICE}`, 'stop');
      await call('update-rc.d', DEBIAN_SERVICE, 'disable');
    }
    // Also where systemd does not run now: the machine may be an image that starts with it later.
    if (service) await call('systemctl', 'disable', '--quiet', DEBIAN_SERVICE);
  }
}
