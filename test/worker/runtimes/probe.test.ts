import { expect, test } from 'vitest';
import { explainFailure } from '../../../apps/worker/src/runtimes/sandbox/probe.ts';

const onMachineWith = (settings: Record<string, string>) => async (name: string) => settings[name] ?? '';

test.for([
  [{ 'kernel/apparmor_restrict_unprivileged_userns': '1' }, 'kernel.apparmor_restrict_unprivileged_userns=0'],
  [{ 'user/max_user_namespaces': '0' }, 'user.max_user_namespaces=10000'],
  [{ 'kernel/unprivileged_userns_clone': '0' }, 'kernel.unprivileged_userns_clone=1'],
] as const)('a machine with %o is told what to change, or how to go on without', async ([settings, remedy]) => {
  const text = await explainFailure('bwrap: setting up uid map: Permission denied', onMachineWith(settings));
  expect(text).toContain(remedy);
  expect(text).toContain('--isolation none');
  expect(text.split('\n')).toHaveLength(1);
});

test('a container that hides /proc is told which option it takes', async () => {
  const text = await explainFailure(
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
    onMachineWith({}),
  );
  expect(text).toContain('systempaths=unconfined');
});

test('any other refusal is quoted', async () => {
  expect(await explainFailure('bwrap: Creating new namespace failed: EPERM', onMachineWith({}))).toContain(
    'Creating new namespace failed: EPERM',
  );
});
