import type { Version } from '@pilum/core/schemas/artifact.ts';
import { hasRight } from '../auth/needs.ts';
import type { Principal } from '../auth/principal.ts';

const HIDDEN = '(shown to whoever may deploy)';

/** Returns a version as a caller may see it: the values of `env` are for those who may deploy, whatever else they may read. */
export function visibleVersion(principal: Principal, version: Version): Version {
  if (hasRight(principal, 'artifacts:write')) return version;
  const env = Object.fromEntries(Object.keys(version.spec.env).map((name) => [name, HIDDEN]));
  return { ...version, spec: { ...version.spec, env } };
}
