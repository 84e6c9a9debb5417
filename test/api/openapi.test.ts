import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: { readonly content: Record<string, unknown> };
  readonly responses: Record<string, { readonly content?: Record<string, unknown> }>;
}

const text = readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8');
const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, Operation>> };
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);
const byId = new Map(operations.map(({ operation }) => [operation.operationId, operation]));
const typesOf = (id: string) => Object.keys(byId.get(id)?.responses['200']?.content ?? {});
const headersOf = (id: string) =>
  byId
    .get(id)
    ?.parameters?.filter((parameter) => parameter.in === 'header')
    .map(({ name }) => name) ?? [];

describe('the API document', () => {
  it('names each operation once', () => {
    expect(byId.size).toBe(operations.length);
    for (const id of byId.keys()) expect(id).toMatch(/^[a-z][A-Za-z0-9]+$/);
  });

  it('declares what stands in each path, and nothing else', () => {
    for (const { path, operation } of operations) {
      const inPath = operation.parameters?.filter((parameter) => parameter.in === 'path') ?? [];
      const names = [...path.matchAll(/\{([A-Za-z]+)\}/g)].map((match) => match[1]);
      expect([path, inPath.map(({ name }) => name).sort()]).toEqual([path, names.sort()]);
      expect(inPath.every(({ required }) => required === true)).toBe(true);
    }
  });

  it('has the bodies that calls, retries and uploads take', () => {
    for (const id of ['invoke', 'startStream', 'retryTask', 'deployArtifact']) {
      expect([id, Object.keys(byId.get(id)?.requestBody?.content ?? {})]).toEqual([
        id,
        expect.arrayContaining(['application/json']),
      ]);
    }
    for (const id of ['uploadBlob', 'postFunction', 'putFunctionPath']) {
      expect(Object.keys(byId.get(id)?.requestBody?.content ?? {})).toEqual(['application/octet-stream']);
    }
    // A client would have to choose between several by the type of a value.
    for (const { operation } of operations) {
      expect(Object.keys(operation.requestBody?.content ?? {}).length).toBeLessThanOrEqual(1);
    }
  });

  it('says of answers that are no JSON what they are', () => {
    expect(typesOf('getMetrics')).toEqual(['text/plain']);
    expect(typesOf('getResult')).toEqual(['application/octet-stream']);
    expect(typesOf('startStream')).toContain('text/event-stream');
    expect(typesOf('getLogs')).toContain('application/x-ndjson');
    expect(typesOf('getTask')).toEqual(['application/json']);
  });

  it('has the headers that are options', () => {
    expect(headersOf('invoke')).toContain('Idempotency-Key');
    expect(headersOf('readStream')).toEqual(['Last-Event-ID']);
    expect(headersOf('getFunctionPath')).toContain('Pilum-Timeout');
  });

  it('gives a value that may be null two types, and makes no choice of it', () => {
    expect(text).not.toMatch(/"type": "null"/);
    expect(text).toMatch(/"type": \[\s*"string",\s*"null"\s*\]/);
  });

  it('has no default for a field that may be left out, which generators would take for one that is always there', () => {
    const spec = JSON.parse(text).components.schemas.ArtifactSpecInput;
    expect(spec.required).toEqual(['runtime']);
    expect(spec.properties.env).not.toHaveProperty('default');
    expect(spec.properties.limits.properties.memoryMiB.description).toContain('256');
  });

  it('lists health', () => {
    expect(byId.has('getLiveness') && byId.has('getReadiness')).toBe(true);
  });

  it('has nothing that generators of clients stumble over', () => {
    const problems: string[] = [];
    const look = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      const { default: fallback, type, format, patternProperties } = value as Record<string, unknown>;
      // A path below `properties` names fields, and these may be called anything.
      if (!path.endsWith('/properties')) {
        if (typeof fallback === 'object') problems.push(`${path} has a default that is no plain value`);
        if (type === 'number' && format === undefined) problems.push(`${path} is a number of an unknown size`);
        if (patternProperties !== undefined) problems.push(`${path} has names by patterns, and values of any type`);
      }
      for (const [key, inner] of Object.entries(value)) look(inner, `${path}/${key}`);
    };
    const { components } = JSON.parse(text) as { components: { schemas: object } };
    look(components.schemas, '/schemas');
    look(paths, '/paths');
    expect(problems).toEqual([]);
  });

  it('says that variables and labels are text', () => {
    const { schemas } = (JSON.parse(text) as { components: { schemas: Record<string, { properties: object }> } })
      .components;
    for (const name of ['ArtifactSpec', 'ArtifactSpecInput']) {
      expect(schemas[name]?.properties).toMatchObject({
        env: { additionalProperties: { type: 'string' } },
        labels: { additionalProperties: { type: 'string' } },
      });
    }
  });
});
