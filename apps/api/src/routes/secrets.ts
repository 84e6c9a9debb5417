import { Name } from '@pilum/core/schemas/names.ts';
import { MAX_SECRET_BYTES, SecretInfo, SecretInput } from '@pilum/core/schemas/secret.ts';
import type { KeySource } from '@pilum/core/secrets/key-source.ts';
import type { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { invalid } from '../http/validation.ts';
import { NoQuery, Nothing, refusals, strictObject } from './http-shapes.ts';

export interface SecretRouteDeps {
  readonly secrets: SecretStore;
  readonly secretKeys: KeySource;
}

/** Largest body, bytes: the largest value with every character escaped. */
const BODY_LIMIT_BYTES = 6 * MAX_SECRET_BYTES + 1024;

const tags = ['Secrets'];
const SecretPath = strictObject({ name: Name });

export function secretRoutes(app: App, { secrets, secretKeys }: SecretRouteDeps): void {
  app.put(
    '/v1/secrets/:name',
    {
      config: { needs: 'secrets:write' },
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        tags,
        summary: 'Set a secret',
        description:
          'Nothing answers with the value. Instances that have an earlier one are stopped: idle ones at once, others after their task.',
        params: SecretPath,
        querystring: NoQuery,
        body: SecretInput,
        response: { 200: SecretInfo, 201: SecretInfo, ...refusals },
      },
    },
    async (request, reply) => {
      const { namespace, keyId } = request.principal;
      const value = bytesOf(request.body);
      const { record, isNew } = await secrets.set(namespace, request.params.name, value, keyId, secretKeys.require());
      return reply.code(isNew ? 201 : 200).send(await secrets.info(namespace, record));
    },
  );

  app.get(
    '/v1/secrets',
    {
      config: { needs: 'secrets:read' },
      schema: {
        tags,
        summary: 'List secrets, without their values',
        querystring: NoQuery,
        response: { 200: strictObject({ secrets: Type.Array(SecretInfo) }), ...refusals },
      },
    },
    async (request) => ({ secrets: await secrets.list(request.principal.namespace) }),
  );

  app.delete(
    '/v1/secrets/:name',
    {
      config: { needs: 'secrets:write' },
      schema: {
        tags,
        summary: 'Delete a secret',
        description: 'Refused with 409 while an artifact has a version that names it, unless `force` says otherwise.',
        params: SecretPath,
        querystring: strictObject({
          force: Type.Optional(
            Type.Boolean({
              description: 'Deletes it all the same: instances that have it are stopped, and no more can be started.',
            }),
          ),
        }),
        response: { 204: Nothing, ...refusals },
      },
    },
    async (request, reply) => {
      await secrets.remove(request.principal.namespace, request.params.name, request.query.force ?? false);
      return reply.code(204).send(undefined);
    },
  );
}

/**
 * Returns the bytes of a value.
 * @throws RequestError `VALIDATION_FAILED`, which never shows the value
 */
function bytesOf({ value, base64 }: SecretInput): Buffer {
  if ((value === undefined) === (base64 === undefined)) {
    throw invalid([{ where: '/body', what: 'must have "value" or "base64", and not both' }]);
  }
  const bytes = value === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(value, 'utf8');
  if (bytes.length > MAX_SECRET_BYTES) {
    const where = value === undefined ? '/body/base64' : '/body/value';
    throw invalid([{ where, what: `has ${bytes.length} bytes, and may have ${MAX_SECRET_BYTES}` }]);
  }
  return bytes;
}
