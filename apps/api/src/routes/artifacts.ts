import { ArtifactSettingsInput, DeployedVersion } from '@pilum/core/schemas/artifact.ts';
import { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { Name } from '@pilum/core/schemas/names.ts';
import type { ArtifactStore, StoredAlias } from '@pilum/core/store/artifact-store.ts';
import { currentVersion, unknownAlias } from '@pilum/core/store/current-version.ts';
import { type StoredVersion, type UnknownRecord, UnknownVersion } from '@pilum/core/store/unknown-record.ts';
import { Type } from 'typebox';
import { concurrencyWarnings } from '../artifacts/concurrency-warnings.ts';
import { DEPLOY_WAIT_MS, type Deployer } from '../artifacts/deploy.ts';
import type { Remover } from '../artifacts/remove.ts';
import { artifactNotFound } from '../artifacts/resolve.ts';
import { changeSettings, type SettingsDeps } from '../artifacts/settings.ts';
import { visibleVersion } from '../artifacts/visible-version.ts';
import type { App } from '../http/app-type.ts';
import { invalid } from '../http/validation.ts';
import { DURATION_FORM, parseDuration } from '../tasks/duration.ts';
import {
  ArtifactDetail,
  ArtifactPage,
  ArtifactPath,
  NoQuery,
  Page,
  Removal,
  refusals,
  Settings,
  strictObject,
} from './http-shapes.ts';

export interface ArtifactRouteDeps extends SettingsDeps {
  readonly artifacts: ArtifactStore;
  readonly deployer: Deployer;
  readonly remover: Remover;
}

/** Largest spec, bytes: the largest inline code with every character escaped. */
const SPEC_LIMIT_BYTES = 8 * 1_048_576;

/** Longest wait of a caller for a deployment, ms. */
const MOST_WAIT_MS = 60_000;

const tags = ['Artifacts'];

/** @throws RequestError `VALIDATION_FAILED` */
function waitOf(text: string | undefined): number {
  if (text === undefined) return DEPLOY_WAIT_MS;
  const ms = parseDuration(text);
  if (ms === null || ms > MOST_WAIT_MS) {
    throw invalid([{ where: '/query/wait', what: `must be ${DURATION_FORM}, up to ${MOST_WAIT_MS / 1000} s` }]);
  }
  return ms;
}

export function artifactRoutes(app: App, deps: ArtifactRouteDeps): void {
  const { artifacts, deployer, remover, workers } = deps;

  app.put(
    '/v1/artifacts/:id',
    {
      config: { needs: 'artifacts:write' },
      bodyLimit: SPEC_LIMIT_BYTES,
      schema: {
        tags,
        summary: 'Create an artifact, or add a version to it',
        description:
          'A bare id runs the version that was deployed last, unless the alias live points elsewhere; `current` tells whether this ' +
          'version is the one. Deploying the spec and code of an existing version again adds none: the existing version is answered, ' +
          'becomes current, and is ready again if it was deprecated. 202 means that the version is not ready yet: a worker pulls its ' +
          'image or starts its code once, and the version shows the progress.',
        params: ArtifactPath,
        querystring: strictObject({
          wait: Type.Optional(
            Type.String({
              description: `How long to wait until the version is ready: ${DURATION_FORM}; 10 s by default, up to a minute.`,
            }),
          ),
        }),
        body: ArtifactSpecInput,
        response: { 200: DeployedVersion, 201: DeployedVersion, 202: DeployedVersion, ...refusals },
      },
    },
    async (request, reply) => {
      const waitMs = waitOf(request.query.wait);
      const { version, isNew, isCurrent } = await deployer.deploy(
        request.principal,
        request.params.id,
        request.body,
        waitMs,
      );
      return reply
        .code(version.state === 'creating' ? 202 : isNew ? 201 : 200)
        .send({ ...version, current: isCurrent });
    },
  );

  app.get(
    '/v1/artifacts',
    {
      config: { needs: 'artifacts:read' },
      schema: {
        tags,
        summary: 'List artifacts by id',
        querystring: strictObject({ ...Page, after: Type.Optional(Name) }),
        response: { 200: ArtifactPage, ...refusals },
      },
    },
    async (request) => {
      const { namespace } = request.principal;
      const { limit, after } = request.query;
      const ids = await artifacts.list(namespace, after ?? null, limit + 1);
      const shown = ids.slice(0, limit);
      const found = await Promise.all(shown.map((id) => artifacts.artifact({ namespace, artifactId: id })));
      return {
        artifacts: found.filter((artifact) => artifact !== null),
        next: ids.length > limit ? (shown.at(-1) ?? null) : null,
      };
    },
  );

  app.get(
    '/v1/artifacts/:id',
    {
      config: { needs: 'artifacts:read' },
      schema: {
        tags,
        summary: 'One artifact with its versions, aliases and settings',
        params: ArtifactPath,
        querystring: NoQuery,
        response: { 200: ArtifactDetail, ...refusals },
      },
    },
    async (request) => {
      const { id } = request.params;
      const ref = { namespace: request.principal.namespace, artifactId: id };
      const [artifact, versions, aliases, deployments] = await Promise.all([
        artifacts.artifact(ref),
        artifacts.versions(ref),
        artifacts.aliases(ref),
        artifacts.deployments(ref),
      ]);
      if (artifact === null) throw artifactNotFound(id);
      const current = currentVersion({ versions, aliases, deployments });
      const unknown = unknownRecords(id, versions, aliases);
      const warnings = [
        ...unknown.map(({ says }) => says),
        ...concurrencyWarnings(artifact.settings, current, await workers.list()),
      ];
      return {
        ...artifact,
        currentVersion: current?.version ?? null,
        ...(warnings.length === 0 ? {} : { warnings }),
        versions: versions.map((version) =>
          version instanceof UnknownVersion ? version.shown : visibleVersion(request.principal, version),
        ),
        aliases: aliases.flatMap(({ name, version }) => (version === null ? [] : { name, version })),
      };
    },
  );

  app.delete(
    '/v1/artifacts/:id',
    {
      config: { needs: 'artifacts:write' },
      schema: {
        tags,
        summary: 'Delete an artifact',
        description: 'Waiting tasks are cancelled. Running tasks finish; the call waits for them for a few seconds.',
        params: ArtifactPath,
        querystring: NoQuery,
        response: { 200: Removal, ...refusals },
      },
    },
    async (request) => {
      const { id } = request.params;
      return { id, ...(await remover.remove(request.principal, id)) };
    },
  );

  app.patch(
    '/v1/artifacts/:id/settings',
    {
      config: { needs: 'artifacts:write' },
      schema: {
        tags,
        summary: 'Change the settings of an artifact',
        description: 'Settings hold for all versions. Fields that are left out stay as they are.',
        params: ArtifactPath,
        querystring: NoQuery,
        body: ArtifactSettingsInput,
        response: { 200: Settings, ...refusals },
      },
    },
    async (request) => changeSettings(deps, request.principal, request.params.id, request.body),
  );
}

/** Returns what a newer release has written of an artifact and this one does not know. */
function unknownRecords(
  artifactId: string,
  versions: readonly StoredVersion[],
  aliases: readonly StoredAlias[],
): UnknownRecord[] {
  return [
    ...versions.filter((version) => version instanceof UnknownVersion),
    ...aliases.filter(({ version }) => version === null).map(({ name }) => unknownAlias(artifactId, name)),
  ];
}
