import type { TakenBody } from '../http/refuse-body.ts';

/** Where {@link markBody} leaves a body until the document is whole: the plugin knows only those that it can read from a schema. */
const BODY_MARK = 'x-pilum-body';

/** Operations by path and method. */
export type Paths = Record<string, Record<string, Operation>>;

interface Operation {
  requestBody?: unknown;
  [BODY_MARK]?: TakenBody;
}

/** The schema of a route, with what it takes as its body where it has no schema for that. */
export function markBody<S extends object>(schema: S, takesBody: TakenBody | undefined): S {
  return takesBody === undefined ? schema : { ...schema, [BODY_MARK]: takesBody };
}

/** The paths of a document, with the bodies that were marked. */
export function withBodies(paths: Paths): Paths {
  return mapOperations(paths, ({ [BODY_MARK]: body, ...operation }) => {
    if (body === undefined || Object.keys(body.content).length === 0) return operation;
    const { content, description, required = false } = body;
    return { ...operation, requestBody: { ...(description === undefined ? {} : { description }), content, required } };
  });
}

function mapOperations(paths: Paths, change: (operation: Operation) => Operation): Paths {
  const changed = (operations: Record<string, Operation>) =>
    Object.fromEntries(Object.entries(operations).map(([method, operation]) => [method, change(operation)]));
  return Object.fromEntries(Object.entries(paths).map(([path, operations]) => [path, changed(operations)]));
}
