import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import {
  Alias,
  Artifact,
  ArtifactSettings,
  ArtifactSettingsInput,
  DeployedVersion,
  Version,
} from '@pilum/core/schemas/artifact.ts';
import { ArtifactSpec, ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { Envelope, ErrorAnswer } from '@pilum/core/schemas/task.ts';
import { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import type { FastifyRequest } from 'fastify';
import type { Front } from '../auth/front.ts';
import { declareForLibrary } from '../auth/needs.ts';
import type { App } from '../http/app-type.ts';
import { completePaths, markBody, type Paths, plainSchema } from './openapi-operations.ts';

/** The schemas that the document names, outer ones first. */
const NAMED = {
  ErrorAnswer,
  Envelope,
  DeployedVersion,
  Version,
  ArtifactSpec,
  ArtifactSpecInput,
  Artifact,
  ArtifactSettings,
  ArtifactSettingsInput,
  Alias,
  WorkerInfo,
  InstanceInfo,
};

/** The groups of operations on the page. A route may have no other tag. */
export const TAGS = [
  { name: 'Artifacts', description: 'Named functions: their code, and how to run it.' },
  { name: 'Versions and aliases', description: 'Immutable revisions of an artifact, and movable names for them.' },
  { name: 'Blobs', description: 'Code that is too large to stand in a spec.' },
  { name: 'Secrets', description: 'What functions need and nobody else may read.' },
  { name: 'Calls', description: 'Running a function.' },
  { name: 'Streams', description: 'The output of a function while it runs.' },
  { name: 'Tasks', description: 'The state, result and logs of calls.' },
  { name: 'Operation', description: 'Health, metrics, workers and instances.' },
] as const;

/** Prepares the document, which is made from the schemas of routes. Must be called before routes are added. */
export async function registerOpenApi(app: App, release: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Pilum',
        version: release,
        description:
          'Deploy code, call it over HTTP. Every error has a body of the form `{"error": {"code", "message", …}}`; docs/errors.md of ' +
          'the project lists the codes. `?pretty` indents any JSON answer. With the key of an admin, the header Pilum-Namespace ' +
          'names another namespace. `x-pilum-needs` is the right that an operation asks of its caller.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/', description: 'The API that answers this document.' }],
      tags: [...TAGS],
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'PILUM_API_KEY' } } },
      security: [{ key: [] }],
    },
    transform: ({ schema, url, route }) => ({
      schema: {
        ...(mapSchemas(markBody(schema, route.config?.takesBody), markNamed) as typeof schema),
        // Generators of clients pass over what begins with `x-`.
        ...(route.config?.needs === 'nothing' ? { security: [] } : { 'x-pilum-needs': route.config?.needs }),
      },
      url,
    }),
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject;
      const page = mapSchemas(document.openapiObject, referToNamed) as { components: object; paths: Paths };
      const components = { ...page.components, schemas: definitions() };
      return plainSchema({
        ...page,
        paths: completePaths(page.paths),
        components,
      }) as unknown as typeof document.openapiObject;
    },
  });
}

/** Serves the document as `/openapi.json`, and as the page `/docs`. */
export async function serveOpenApi(app: App, front: Front): Promise<void> {
  await app.register(async (scope) => {
    declareForLibrary(scope, 'docs:read');
    await scope.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { docExpansion: 'list', validatorUrl: null, persistAuthorization: false },
      transformSpecificationClone: false,
      transformSpecification: (document, request) => ({ ...document, ...serversOf(request, front) }),
      // Everything on the page comes from here. The page's own policy would ask for https, which may be missing.
      staticCSP: "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    });
  });
  app.get('/openapi.json', { config: { needs: 'docs:read' }, schema: { hide: true } }, async (request) => ({
    ...app.swagger(),
    ...serversOf(request, front),
  }));
}

/** Returns the `servers` of the document for a caller that has reached the API below a path prefix. */
function serversOf({ raw }: FastifyRequest, front: Front): { servers?: { url: string }[] } {
  const { base } = front.seen(raw);
  return base === '' ? {} : { servers: [{ url: base }] };
}

// A named schema is written once and referred to everywhere else. The schema is marked before the plugin rewrites the schemas of a
// route, after which it could not be recognized, and the mark becomes a reference when the document is whole.

const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(NAMED).map(([name, schema]) => [JSON.stringify(schema), name]),
);
const MARK = 'pilum:';

type Mapping = (value: object) => object | null;

const markNamed: Mapping = (value) => {
  const name = NAMES.get(JSON.stringify(value));
  return name === undefined ? null : { title: MARK + name };
};

const referToNamed: Mapping = (value) => {
  const title = 'title' in value && typeof value.title === 'string' ? value.title : '';
  return title.startsWith(MARK) ? { $ref: `#/components/schemas/${title.slice(MARK.length)}` } : null;
};

function definitions(): Record<string, object> {
  return Object.fromEntries(
    Object.entries(NAMED).map(([name, schema]) => {
      const fields = Object.entries(JSON.parse(JSON.stringify(schema)) as object);
      const marked = Object.fromEntries(fields.map(([key, inner]) => [key, mapSchemas(inner, markNamed)]));
      return [name, mapSchemas(marked, referToNamed) as object];
    }),
  );
}

/** Copies a value, replacing each object for which the mapping returns another. */
function mapSchemas(value: unknown, mapping: Mapping): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => mapSchemas(item, mapping));
  const mapped = mapping(value);
  if (mapped !== null) return mapped;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, mapSchemas(inner, mapping)]));
}
