import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { FastifyInstance } from 'fastify';
import type { Principal } from './principal.ts';

/** Everything that a route may ask of its caller, and the roles that have it. */
const ROLES_BY_NEED = {
  'artifacts:read': ['admin', 'member'],
  // Whoever may deploy may also read what a deployment holds: see `visibleVersion`.
  'artifacts:write': ['admin', 'member'],
  // A function may be given any secret of its namespace, so that whoever deploys has them all.
  'secrets:read': ['admin', 'member'],
  'secrets:write': ['admin', 'member'],
  'functions:call': ['admin', 'member', 'public'],
  'tasks:read': ['admin', 'member'],
  'tasks:write': ['admin', 'member'],
  'instances:read': ['admin', 'member'],
  'instances:write': ['admin', 'member'],
  'workers:read': ['admin', 'member'],
  'docs:read': ['admin', 'member'],
  // These show or change more than one namespace.
  'workers:write': ['admin'],
  'metrics:read': ['admin'],
  'queues:read': ['admin'],
} as const satisfies Record<string, readonly Principal['role'][]>;

/** A right that a route asks of its caller; `nothing` leaves the route open to everyone, without a principal. */
export type Need = keyof typeof ROLES_BY_NEED | 'nothing';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The right that a caller must have. The app does not start with a route that declares none. */
    needs?: Need;
    /** Whether the spec of the called artifact may let in callers without a key, and pages of other origins. */
    isAdmittedBySpec?: boolean;
  }
}

/** Tells whether a value from a route's config is a {@link Need}. */
export function isNeed(value: unknown): value is Need {
  return value === 'nothing' || (typeof value === 'string' && Object.hasOwn(ROLES_BY_NEED, value));
}

/**
 * Refuses a principal that lacks what a route needs; and everyone, where the route does not say what that is.
 * @throws RequestError `FORBIDDEN`
 */
export function requireNeed({ role }: Principal, need: Need | undefined): void {
  if (need === 'nothing') return;
  const roles: readonly Principal['role'][] = need === undefined ? [] : ROLES_BY_NEED[need];
  if (roles.includes(role)) return;
  throw new RequestError('FORBIDDEN', {
    message: `This needs the right ${need}, which a caller with the role ${role} does not have.`,
    details: { needs: need ?? null, role },
  });
}

/** Tells whether a principal has a right; for what an answer shows to some of those who may ask for it. */
export function hasRight({ role }: Principal, need: Exclude<Need, 'nothing'>): boolean {
  const roles: readonly Principal['role'][] = ROLES_BY_NEED[need];
  return roles.includes(role);
}

/** Declares a need for all routes that a library adds to a scope. These routes stay out of the API document. */
export function declareForLibrary(scope: Pick<FastifyInstance, 'addHook'>, needs: Need): void {
  scope.addHook('onRoute', (route) => {
    route.config = { ...route.config, needs };
    route.schema = { ...route.schema, hide: true };
  });
}
