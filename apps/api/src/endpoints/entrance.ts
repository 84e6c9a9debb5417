import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify';
import type { Guard } from '../auth/guard.ts';
import { requireNeed } from '../auth/needs.ts';
import type { Principal } from '../auth/principal.ts';
import { requireClearHeaders } from '../http/before-routing.ts';
import type { KnownRoutes } from '../http/known-routes.ts';
import { type RouteFacts, refuseUntakenBody, refuseUntakenOptions } from '../http/refuse-body.ts';
import type { Admission } from './admission.ts';

export interface EntranceDeps {
  readonly guard: Guard;
  readonly admission: Admission;
  readonly known: KnownRoutes;
}

/**
 * Makes the one hook that every request passes before its body is read. The hook decides who the caller is and whether the
 * caller has what the route declares in its config, and hands the caller on as `request.principal`.
 *
 * Hooks with callbacks, because an async one would cost each call a promise.
 */
export function entrance({ guard, admission, known }: EntranceDeps) {
  const enter = (
    request: FastifyRequest,
    reply: FastifyReply,
    route: RouteFacts,
    principal: Principal | null,
  ): void => {
    // After the guard, so that a stranger does not learn which paths exist.
    if (request.is404) throw known.notFound(request, reply);
    if (principal !== null) requireNeed(principal, route.config.needs);
    request.admitted = principal;
    refuseUntakenBody(request, route);
    if (principal !== null) refuseUntakenOptions(request, route);
  };

  return (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    try {
      requireClearHeaders(request.raw);
      const route = request.routeOptions;
      const { needs, isAdmittedBySpec } = route.config;
      if (needs === 'nothing') enter(request, reply, route, null);
      else {
        const look = guard.look(request);
        if (isAdmittedBySpec === true) {
          admission.admit(request, reply, look).then((principal) => {
            if (principal === null) return; // the admission has answered
            try {
              enter(request, reply, route, principal);
            } catch (error) {
              done(error as Error);
              return;
            }
            done();
          }, done);
          return;
        }
        enter(request, reply, route, guard.admit(request, look, true));
      }
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  };
}
