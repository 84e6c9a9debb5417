import type { TakenBody } from '../http/refuse-body.ts';
import { DURATION_PATTERN } from '../tasks/duration.ts';
import { EXAMPLES } from './openapi-examples.ts';

// What the routes' schemas do not say, and clients that are made from the document need: names of operations, media types of
// answers that are no JSON, bodies that are bytes, and headers.

/** Where {@link markBody} leaves a body until the document is whole: the plugin knows only those that it can read from a schema. */
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

/** Operations by path and method. */
export type Paths = Record<string, Record<string, Operation>>;

/** The schema of a route, with what it takes as its body where it has no schema for that. */
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

/** Method and path as one word, for a route that has no name yet. */
function operationIdOf(method: string, path: string): string {
  if (path.startsWith('/fn/')) return `${method}Function${path.includes('{path}') ? 'Path' : ''}`;
  const words = `${method} ${path}`.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  const fallback = words.map((word, i) => (i === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1))).join('');
  return OPERATION_IDS[`${method} ${path}`] ?? fallback;
}

const TEXT = { type: 'string' };
const BYTES = { type: 'string', format: 'binary' };
const STREAM = { 'text/event-stream': TEXT, 'application/x-ndjson': TEXT, 'application/octet-stream': BYTES };

/** Answers that are no JSON, by the name of their operation: media types with their schemas. */
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
const LAST_EVENT_ID = header('Last-Event-ID', 'The id of the last event that one has: what follows it is sent.');
const TRACE = header('traceparent', 'As W3C Trace Context has it; the function is given it.');
const KEY = header(
  'Idempotency-Key',
  '1 to 255 printable characters: the same call with it again makes no second task.',
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
  header('Pilum-Priority', '0 (begun first) to 9.', PATTERNS.priority),
  header('Pilum-Attempts', 'How often it may be tried in all; 1 where it is not said.', PATTERNS.attempts),
  TRACE,
];
const HEADERS: Readonly<Record<string, readonly Parameter[]>> = {
  invoke: [KEY, TRACE],
  startStream: [KEY, TRACE],
  readStream: [LAST_EVENT_ID],
  getLogs: [LAST_EVENT_ID],
};

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  200: 'As asked for.',
  201: 'Made.',
  202: 'Accepted, and not done yet.',
  204: 'Done; there is nothing to say.',
  503: 'Not ready.',
  '4XX': 'Refused, or failed: the body says why.',
  '5XX': 'It failed: the body says why.',
};

/** The paths of a document as clients can be made from them. */
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

/** What may be left out says in words what it is then: generators take a field with a default for one that is always there. */
function withoutDefaults(properties: Record<string, object>, required: unknown): Record<string, object> {
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => {
      if (isRequired(name) || !('default' in schema)) return [name, schema];
      const { default: fallback, description, ...rest } = schema as { default: unknown; description?: string };
      const said = `${JSON.stringify(fallback)} where it is not said.`;
      return [name, { ...rest, description: description === undefined ? said : `${description} ${said}` }];
    }),
  );
}

/**
 * A schema as generators of clients read it: a value that may be null has two types, and is no choice between schemas; and what
 * is one of some words is a string.
 */
export function plainSchema(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plainSchema);
  const plain = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plainSchema(inner)]));
  const { anyOf, ...rest } = plain;
  if (Array.isArray(anyOf) && anyOf.length === 2) {
    const [one, other] = anyOf as [Record<string, unknown>, Record<string, unknown>];
    const isNull = Object.keys(other).length === 1 && other.type === 'null';
    if (isNull && typeof one.type === 'string') return { ...one, ...rest, type: [one.type, 'null'] };
  }
  if (isObject(plain.properties)) plain.properties = withoutDefaults(plain.properties, plain.required);
  const words = plain.enum;
  if (Array.isArray(words) && plain.type === undefined && words.every((word) => typeof word === 'string')) {
    return { type: 'string', ...plain };
  }
  if (typeof plain.const === 'string' && plain.type === undefined) return { type: 'string', ...plain };
  return plain;
}
