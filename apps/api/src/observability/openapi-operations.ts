import type { TakenBody } from '../http/refuse-body.ts';
import { DURATION_PATTERN } from '../tasks/duration.ts';
import { EXAMPLES } from './openapi-examples.ts';

// Adds to the document what generated clients need beyond the schemas of routes: operation ids, media types other than JSON,
// bodies of bytes, and headers.

/** The key under which {@link markBody} keeps a body of bytes until the document is whole; the plugin drops such bodies. */
const BODY_MARK = 'x-pilum-body';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: object;
  readonly required?: boolean;
  readonly description?: string;
}

interface Answer {
  readonly description: string;
  readonly content?: Record<string, { readonly schema?: object }>;
}

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, object>; readonly required?: boolean };
  readonly responses?: Record<string, Answer>;
  readonly [BODY_MARK]?: TakenBody;
}

/** The operations of a document by path and method. */
export type Paths = Record<string, Record<string, Operation>>;

/** Returns the schema of a route, marked with its body if that is bytes. */
export function markBody<S extends object>(schema: S, takesBody: TakenBody | undefined): S {
  return takesBody === undefined ? schema : { ...schema, [BODY_MARK]: takesBody };
}

const OPERATION_IDS: Readonly<Record<string, string>> = {
  'get /': 'getStart',
  'get /livez': 'getLiveness',
  'get /readyz': 'getReadiness',
  'get /metrics': 'getMetrics',
  'put /v1/artifacts/{id}': 'deployArtifact',
  'get /v1/artifacts/{id}': 'getArtifact',
  'delete /v1/artifacts/{id}': 'deleteArtifact',
  'get /v1/artifacts': 'listArtifacts',
  'patch /v1/artifacts/{id}/settings': 'changeSettings',
  'get /v1/artifacts/{id}/versions/{version}': 'getVersion',
  'patch /v1/artifacts/{id}/versions/{version}': 'changeVersion',
  'put /v1/artifacts/{id}/aliases/{name}': 'setAlias',
  'delete /v1/artifacts/{id}/aliases/{name}': 'deleteAlias',
  'put /v1/blobs/{digest}': 'uploadBlob',
  'post /v1/artifacts/{id}/invoke': 'invoke',
  'post /v1/artifacts/{id}/stream': 'startStream',
  'get /v1/tasks': 'listTasks',
  'get /v1/tasks/{taskId}': 'getTask',
  'delete /v1/tasks/{taskId}': 'cancelTask',
  'post /v1/tasks/{taskId}/retry': 'retryTask',
  'post /v1/tasks/retry': 'retryTasks',
  'get /v1/tasks/{taskId}/result': 'getResult',
  'get /v1/tasks/{taskId}/payload': 'getPayload',
  'get /v1/tasks/{taskId}/logs': 'getLogs',
  'get /v1/tasks/{taskId}/stream': 'readStream',
  'get /v1/workers': 'listWorkers',
  'post /v1/workers/{workerId}/drain': 'drainWorker',
  'get /v1/instances': 'listInstances',
  'delete /v1/instances/{instanceId}': 'stopInstance',
};

/** Returns the operation id of a route; one without a chosen id gets its method and path as one word. */
function operationIdOf(method: string, path: string): string {
  if (path.startsWith('/fn/')) return `${method}Function${path.includes('{path}') ? 'Path' : ''}`;
  const words = `${method} ${path}`.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  const fallback = words.map((word, i) => (i === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1))).join('');
  return OPERATION_IDS[`${method} ${path}`] ?? fallback;
}

const TEXT = { type: 'string' };
const BYTES = { type: 'string', format: 'binary' };
const STREAM = { 'text/event-stream': TEXT, 'application/x-ndjson': TEXT, 'application/octet-stream': BYTES };

/** Media types and schemas of answers other than JSON, by operation id. */
const MEDIA_TYPES: Readonly<Record<string, Readonly<Record<string, object>>>> = {
  getMetrics: { 'text/plain': TEXT },
  getResult: { 'application/octet-stream': BYTES },
  getPayload: { 'application/octet-stream': BYTES },
  getLogs: { 'text/plain': TEXT, 'application/x-ndjson': TEXT, 'text/event-stream': TEXT },
  readStream: STREAM,
  startStream: STREAM,
};

const header = (name: string, description: string, pattern?: string): Parameter => ({
  name,
  in: 'header',
  required: false,
  description,
  schema: { type: 'string', ...(pattern === undefined ? {} : { pattern }) },
});
const LAST_EVENT_ID = header(
  'Last-Event-ID',
  'The id of the last event that the reader has; the stream resumes after it.',
);
const TRACE = header('traceparent', 'The header of W3C Trace Context, which is passed on to the function.');
const KEY = header(
  'Idempotency-Key',
  '1 to 255 printable characters. Repeating a call with the same key returns the task of the first call.',
);
const PATTERNS: Readonly<Record<string, string>> = {
  timeout: DURATION_PATTERN,
  delay: DURATION_PATTERN,
  wait: DURATION_PATTERN,
  priority: '^[0-9]$',
  attempts: '^(100|[1-9][0-9]?)$',
  logs: '^(true|false)$',
  detach: '^(true|false)$',
  restart: '^(true|false)$',
};
const FUNCTION_HEADERS: readonly Parameter[] = [
  header('Pilum-Timeout', 'Run timeout of this task, for example 20s.', DURATION_PATTERN),
  header('Pilum-Priority', '0 (starts first) to 9; 5 by default.', PATTERNS.priority),
  header('Pilum-Attempts', 'Most attempts in all; 1 by default.', PATTERNS.attempts),
  TRACE,
];
const HEADERS: Readonly<Record<string, readonly Parameter[]>> = {
  invoke: [KEY, TRACE],
  startStream: [KEY, TRACE],
  readStream: [LAST_EVENT_ID],
  getLogs: [LAST_EVENT_ID],
};

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  200: 'Success.',
  201: 'Created.',
  202: 'Accepted, and still to be done.',
  204: 'Success, without a body.',
  503: 'Not ready.',
  '4XX': 'The request was refused, or its task failed; the body names the error.',
  '5XX': 'Pilum or the task failed; the body names the error.',
};

/** Completes the paths of a document for generators of clients. */
export function completePaths(paths: Paths): Paths {
  return Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => {
      const named = path.replace('{*}', '{path}');
      const complete = Object.entries(operations).map(([method, operation]) => [
        method,
        completeOperation(method, named, operation),
      ]);
      return [named, Object.fromEntries(complete)];
    }),
  );
}

function completeOperation(method: string, path: string, { [BODY_MARK]: body, ...operation }: Operation): Operation {
  const operationId = operationIdOf(method, path);
  const isFunction = path.startsWith('/fn/');
  const parameters = [
    ...(operation.parameters ?? []).flatMap((parameter) => completeParameter(parameter, path)),
    ...(isFunction ? FUNCTION_HEADERS : (HEADERS[operationId] ?? [])),
  ];
  const requestBody = method === 'get' || (isFunction && method === 'delete') ? undefined : requestBodyOf(body);
  const taken = requestBody ?? operation.requestBody;
  return {
    operationId,
    ...operation,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(taken === undefined ? {} : { requestBody: withExamples(operationId, taken) }),
    responses: answersOf(
      operation.responses ?? {},
      isFunction ? { 'application/octet-stream': BYTES } : MEDIA_TYPES[operationId],
    ),
  };
}

function completeParameter(parameter: Parameter, path: string): Parameter[] {
  if (parameter.name === '*') {
    return path.includes('{path}') ? [{ ...parameter, name: 'path', required: true }] : [];
  }
  const pattern = PATTERNS[parameter.name];
  const isText = (parameter.schema as { type?: unknown }).type === 'string';
  if (parameter.in !== 'query' || pattern === undefined || !isText) return [parameter];
  return [{ ...parameter, schema: { ...parameter.schema, pattern } }];
}

function requestBodyOf(body: TakenBody | undefined): Operation['requestBody'] {
  if (body === undefined || Object.keys(body.content).length === 0) return undefined;
  const { content, description, required = false } = body;
  return { ...(description === undefined ? {} : { description }), content: { ...content }, required };
}

function withExamples(operationId: string, body: NonNullable<Operation['requestBody']>): Operation['requestBody'] {
  const examples = EXAMPLES[operationId];
  const json = body.content['application/json'];
  if (examples === undefined || json === undefined) return body;
  return { ...body, content: { ...body.content, 'application/json': { ...json, examples } } };
}

function answersOf(answers: Record<string, Answer>, types?: Readonly<Record<string, object>>): Record<string, Answer> {
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => {
      const said = { ...answer, description: DESCRIPTIONS[status] ?? answer.description };
      if (types === undefined || status !== '200') return [status, said];
      const content = Object.fromEntries(Object.entries(types).map(([type, schema]) => [type, { schema }]));
      return [status, { ...said, content }];
    }),
  );
}

const isObject = (value: unknown): value is Record<string, object> => typeof value === 'object' && value !== null;

/** Moves defaults of optional fields into their descriptions, because generators take a field with a default for a required one. */
function withoutDefaults(properties: Record<string, object>, required: unknown): Record<string, object> {
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => {
      if (isRequired(name) || !('default' in schema)) return [name, schema];
      const { default: fallback, description, ...rest } = schema as { default: unknown; description?: string };
      const said = `${JSON.stringify(fallback)} by default.`;
      return [name, { ...rest, description: description === undefined ? said : `${description} ${said}` }];
    }),
  );
}

/** The pattern of the names of a record that may have any. */
const ANY_NAME = '^.*$';

/**
 * Rewrites a schema for generators of clients: a nullable value gets two types in place of a choice between schemas, an
 * enumeration of words gets the type string, and a record is a map from names to values of one type.
 */
export function plainSchema(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plainSchema);
  const plain = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plainSchema(inner)]));
  // Generators have no words for null or an object as a default, and take a number without a format for a short one.
  if (typeof plain.default === 'object') delete plain.default;
  if (plain.type === 'number') plain.format ??= 'double';
  const { anyOf, ...rest } = plain;
  if (Array.isArray(anyOf) && anyOf.length === 2) {
    const [one, other] = anyOf as [Record<string, unknown>, Record<string, unknown>];
    const isNull = Object.keys(other).length === 1 && other.type === 'null';
    if (isNull && typeof one.type === 'string') return { ...one, ...rest, type: [one.type, 'null'] };
  }
  if (isObject(plain.properties)) plain.properties = withoutDefaults(plain.properties, plain.required);
  const [[pattern, values] = ['', null], ...others] = Object.entries(plain.patternProperties ?? {});
  const isAny = pattern === ANY_NAME;
  if (values !== null && others.length === 0 && (isAny || plain.additionalProperties === false)) {
    const { patternProperties: _asMap, ...map } = plain;
    return { ...map, ...(isAny ? {} : { propertyNames: { pattern } }), additionalProperties: values };
  }
  const words = plain.enum;
  if (Array.isArray(words) && plain.type === undefined && words.every((word) => typeof word === 'string')) {
    return { type: 'string', ...plain };
  }
  if (typeof plain.const === 'string' && plain.type === undefined) return { type: 'string', ...plain };
  return plain;
}
