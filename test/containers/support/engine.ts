// @needs docker
import { execFileSync } from 'node:child_process';

/** Why tests that need a Docker Engine and Compose cannot run on this machine; null where they can. */
function whatIsMissing(): string | null {
  for (const [command, ...args] of [
    ['docker', 'info', '--format', '{{.ServerVersion}}'],
    ['docker-compose', 'version', '--short'],
  ] as const) {
    try {
      execFileSync(command, args, { stdio: 'pipe', timeout: 20_000 });
    } catch (error) {
      const said = (error as { stderr?: Buffer }).stderr?.toString().trim().split('\n').at(-1);
      return `${[command, ...args].join(' ')}: ${said || (error as Error).message}`;
    }
  }
  return null;
}

const missing = whatIsMissing();
if (missing !== null) console.log(`Tests of Pilum in containers are skipped here (${missing}).`);

/** Whether to go without these tests here. Never in CI, where what is missing has to be seen. */
export const WITHOUT_CONTAINERS = missing !== null && !process.env.CI;
