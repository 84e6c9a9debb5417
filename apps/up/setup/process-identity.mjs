import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Names one process for as long as the machine is up, which a pid alone does not: pids are used again. It is the pid
 * with the time the process started (and the boot that the time counts from).
 * @param {number} pid
 * @returns {string | undefined} Left out when there is no such process, or only its zombie.
 */
export function processIdentity(pid) {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      // The second field is the program's name in brackets, which may hold prewarmed sandboxes and brackets itself.
      const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' || state === 'X') return undefined;
      return `${pid} ${fields[18]} ${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}`;
    } catch {
      return undefined;
    }
  }
  const { stdout, status } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return status === 0 && stdout.trim() !== '' ? `${pid} ${stdout.trim()}` : undefined;
}

/**
 * Whether the process that {@link processIdentity} named still runs.
 * @param {string} identity
 */
export function isRunning(identity) {
  return identity !== '' && processIdentity(Number.parseInt(identity, 10)) === identity;
}
