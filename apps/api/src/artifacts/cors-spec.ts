import type { Cors } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';

/** Returns the problems of CORS origins that the schema cannot find: an origin that no browser sends would allow nobody. */
export function corsProblems(cors: Cors | undefined): Problem[] {
  if (cors === undefined) return [];
  const problems = cors.origins.flatMap((origin, i): Problem[] => {
    if (origin === '*' || origin === 'null') return [];
    const url = URL.parse(origin);
    const said = url === null ? null : url.origin === 'null' ? origin : url.origin;
    if (said === origin) return [];
    const what = said === null ? 'is no origin, such as https://app.example' : `is said by browsers as ${said}`;
    return [{ where: `/body/cors/origins/${i}`, what }];
  });
  if (cors.credentials === true && cors.origins.includes('*')) {
    problems.push({
      where: '/body/cors/credentials',
      what: 'cannot be true for *: any page could act as its visitors',
    });
  }
  return problems;
}
