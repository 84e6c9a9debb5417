import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import { Alias, Version } from '@pilum/core/schemas/artifact.ts';
import { VersionNumber } from '@pilum/core/schemas/names.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import { IllegalTransition } from '@pilum/core/states/transition-table.ts';
import { type ArtifactStore, versionNotFound } from '@pilum/core/store/artifact-store.ts';
import { UnknownVersion } from '@pilum/core/store/unknown-record.ts';
import { Type } from 'typebox';
import { type ArtifactResolver, aliasNotFound, artifactNotFound } from '../artifacts/resolve.ts';
import { visibleVersion } from '../artifacts/visible-version.ts';
import type { Principal } from '../auth/principal.ts';
import type { App } from '../http/app-type.ts';
import { notBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { AliasPath, NoQuery, Nothing, refusals, strictObject, VersionPath } from './http-shapes.ts';

export interface VersionRouteDeps {
  readonly artifacts: ArtifactStore;
  readonly resolver: ArtifactResolver;
}

const tags = ['Versions and aliases'];

/** Names the artifact of a request. */
const refOf = ({ principal, params }: { principal: Principal; params: { id: string } }): ArtifactRef => ({
  namespace: principal.namespace,
  artifactId: params.id,
});

export function versionRoutes(app: App, { artifacts, resolver }: VersionRouteDeps): void {
  const existing = async (ref: ArtifactRef, number: number) => {
    if ((await artifacts.artifact(ref)) === null) throw artifactNotFound(ref.artifactId);
    const version = await artifacts.storedVersion(ref, number);
    if (version === null) throw versionNotFound(ref.artifactId, number);
    return version instanceof UnknownVersion ? version.shown : version;
  };

  app.get(
    '/v1/artifacts/:id/versions/:version',
    {
      config: { needs: 'artifacts:read' },
      schema: {
        tags,
        summary: 'One version',
        params: VersionPath,
        querystring: NoQuery,
        response: { 200: Version, ...refusals },
      },
    },
    async (request) => {
      return visibleVersion(request.principal, await existing(refOf(request), request.params.version));
    },
  );

  app.patch(
    '/v1/artifacts/:id/versions/:version',
    {
      config: { needs: 'artifacts:write' },
      schema: {
        tags,
        summary: 'Deprecate a version, or take that back',
        description:
          'A bare artifact id no longer means a deprecated version, which can still be called by its number.',
        params: VersionPath,
        querystring: NoQuery,
        body: strictObject({ state: Type.Enum(['deprecated', 'ready']) }),
        response: { 200: Version, ...refusals },
      },
    },
    async (request) => {
      const { id, version: number } = request.params;
      const ref = refOf(request);
      const { state } = await existing(ref, number);
      try {
        await artifacts.changeState(ref, number, request.body.state);
      } catch (error) {
        if (!(error instanceof IllegalTransition)) throw error;
        throw new ArtifactError('ARTIFACT_NOT_READY', {
          message: `Version ${number} of ${id} is ${state} and cannot become ${request.body.state}.`,
          details: { artifactId: id, version: number, state },
        });
      } finally {
        resolver.forget(ref);
      }
      return await existing(ref, number);
    },
  );

  app.put(
    '/v1/artifacts/:id/aliases/:name',
    {
      config: { needs: 'artifacts:write' },
      schema: {
        tags,
        summary: 'Point an alias at a version',
        description: 'A bare artifact id means the version of the alias live.',
        params: AliasPath,
        querystring: NoQuery,
        body: strictObject({ version: Type.Optional(VersionNumber), weights: Type.Optional(Type.Unknown()) }),
        response: { 200: Alias, ...refusals },
      },
    },
    async (request) => {
      const { name } = request.params;
      const ref = refOf(request);
      const { version, weights } = request.body;
      if (weights !== undefined) throw notBuilt('/body/weights', 'an alias points at one version');
      if (version === undefined) throw invalid([{ where: '/body', what: 'lacks "version"' }]);
      await existing(ref, version);
      await artifacts.setAlias(ref, name, version);
      resolver.forget(ref);
      return { name, version };
    },
  );

  app.delete(
    '/v1/artifacts/:id/aliases/:name',
    {
      config: { needs: 'artifacts:write' },
      schema: {
        tags,
        summary: 'Delete an alias',
        params: AliasPath,
        querystring: NoQuery,
        response: { 204: Nothing, ...refusals },
      },
    },
    async (request, reply) => {
      const { id, name } = request.params;
      const ref = refOf(request);
      if ((await artifacts.artifact(ref)) === null) throw artifactNotFound(id);
      if (!(await artifacts.deleteAlias(ref, name))) throw aliasNotFound(id, name);
      resolver.forget(ref);
      return reply.code(204).send(undefined);
    },
  );
}
