import { ECHO } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { Pilum, USUAL_CAPACITY } from '../targets/pilum.ts';

/** Pilum with an echo that is warm in every slot of its one worker. */
export async function startEchoPilum(scope: Scope, env: Readonly<Record<string, string>> = {}): Promise<Pilum> {
  const pilum = await Pilum.start(scope, { env });
  await pilum.deploy('echo', ECHO, { min: USUAL_CAPACITY, max: USUAL_CAPACITY });
  return pilum;
}
