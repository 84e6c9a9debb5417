import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { NoQuery, refusals, strictObject } from './http-shapes.ts';

const ENDPOINTS = {
  docs: ['/docs', 'Every endpoint, to read and to try'],
  openapi: ['/openapi.json', 'The same for programs'],
  artifacts: [
    '/v1/artifacts',
    'Functions: PUT one, POST /v1/artifacts/{id}/invoke calls it, /fn/{id}/… is its web endpoint',
  ],
  tasks: ['/v1/tasks', 'State and results of calls'],
  workers: ['/v1/workers', 'Live workers and their capacity'],
  queues: ['/admin/queues', 'Queues, read-only'],
  ready: ['/readyz', 'Whether calls can be answered'],
  metrics: ['/metrics', 'Metrics for Prometheus'],
} as const;

const Start = strictObject({
  name: Type.Literal('Pilum'),
  release: Type.String(),
  endpoints: Type.Record(Type.String(), Type.String(), { description: 'Paths of the main endpoints, by purpose.' }),
});

/** Adds the start page, which lists the main endpoints for people with a browser or with curl. */
export function startRoute(app: App, release: string): void {
  app.get(
    '/',
    {
      config: { needs: 'docs:read' },
      schema: {
        tags: ['Operation'],
        summary: 'The main endpoints',
        description: 'A page for browsers, JSON for others.',
        querystring: NoQuery,
        response: { 200: Start, ...refusals },
      },
    },
    async (request, reply) => {
      if (request.headers.accept?.includes('text/html') === true) {
        return reply
          .headers({
            'content-type': 'text/html; charset=utf-8',
            'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
          })
          .serializer((text: unknown) => String(text))
          .send(page(release) as never);
      }
      const endpoints = Object.fromEntries(Object.entries(ENDPOINTS).map(([name, [path]]) => [name, path]));
      return { name: 'Pilum' as const, release, endpoints };
    },
  );
}

function page(release: string): string {
  const rows = Object.values(ENDPOINTS).map(([path, what]) => `<li><a href="${path}">${path}</a>: ${what}`);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Pilum</title>
<style>body { font: 16px/1.6 sans-serif; max-width: 44em; margin: 3em auto; padding: 0 1em }</style>
<h1>Pilum ${release}</h1><p>It runs functions.<ul>${rows.join('\n')}</ul></html>
`;
}
