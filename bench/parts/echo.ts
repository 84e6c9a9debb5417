import { ECHO } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { Pilum, type PilumOptions, USUAL_CAPACITY } from '../targets/pilum.ts';

/** Pilum with an echo that is warm in every slot of its one worker. */
export async function startEchoPilum(scope: Scope, options: PilumOptions = {}): Promise<Pilum> {
  const pilum = await Pilum.start(scope, options);
  await pilum.deploy('echo', ECHO, { min: USUAL_CAPACITY, max: USUAL_CAPACITY });
  return pilum;
}
