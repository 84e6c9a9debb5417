import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { configurationRows } from '@pilum/core/config/read-configuration.ts';
import { ERROR_CLASSES, ERROR_TABLE, type ErrorRow } from '@pilum/core/errors/error-table.ts';
import { LOG_EVENTS } from '@pilum/core/log/log-events.ts';
import { createLogger } from '@pilum/core/log/logger.ts';
import { buildApp } from '../apps/api/src/app.ts';
import type { Services } from '../apps/api/src/services.ts';
import { BOOTSTRAP_PARTS } from '../apps/worker/src/runtimes/protocols/bootstraps.ts';
import { runtimesPage } from './runtimes-page.ts';
import { wireTables, withWireConstants } from './wire-constants.ts';

// Writes the pages of docs/ that are made from the code. With --check it writes nothing, and fails where a page differs.

const root = join(import.meta.dirname, '..');
const require = createRequire(import.meta.url);
const MADE = 'This page is made from the code by `node tools/generate-docs.ts`; change it there.';

/** Every page by its path from the root. */
export async function generatedPages(): Promise<Map<string, string>> {
  return new Map([
    ['docs/errors.md', errorsPage()],
    ['docs/configuration.md', configurationPage()],
    ['docs/runtimes.md', runtimesPage(MADE)],
    ['docs/log-events.md', logEventsPage()],
    ['docs/openapi.json', await openApi()],
    [PROTOCOL_PAGE, protocolPage()],
    ...BOOTSTRAPS.map(({ language, parts: [first = '', ...others] }) => {
      const rest = others.map((part) => textOf(part)).join('\n');
      return [first, withWireConstants(language, textOf(first) ?? '', rest)] as const;
    }),
  ]);
}

const PROTOCOL_PAGE = 'docs/design/instance-protocol.md';
/** The files that repeat the numbers of the wire, because they run where they can import nothing of ours. */
const BOOTSTRAPS = (
  [
    ['node', 'node.mjs'],
    ['python', 'python.py'],
  ] as const
).map(([language, name]) => ({
  language,
  parts: (BOOTSTRAP_PARTS[name] ?? []).map((part) => `apps/worker/src/runtimes/protocols/handler/bootstrap/${part}`),
}));

/** The page as it is written, with its tables made anew. */
function protocolPage(): string {
  const { types, limits } = wireTables();
  let page = textOf(PROTOCOL_PAGE) ?? '';
  for (const [name, table] of Object.entries({ types, limits })) {
    const [begin, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->\n`];
    const [before, rest = ''] = page.split(begin);
    page = `${before}${begin}\n${table}\n\n${end}${rest.split(end)[1] ?? ''}`;
  }
  return page;
}

/** The pages that are not what the code makes. */
export async function stalePages(): Promise<string[]> {
  const pages = await generatedPages();
  return [...pages].filter(([path, text]) => textOf(path) !== text).map(([path]) => path);
}

function errorsPage(): string {
  const rows: [string, ErrorRow][] = Object.entries(ERROR_TABLE);
  const sections = ERROR_CLASSES.map((name) => {
    const lines = rows
      .filter(([, row]) => row.class === name)
      .map(([code, row]) => {
        const retry = row.retryable ? 'yes' : 'no';
        return `| \`${code}\` | ${row.status} | ${retry} | ${cell([row.message, row.hint].filter(Boolean).join(' '))} |`;
      });
    return `## ${name}\n\n| code | status | retryable | meaning |\n|---|---|---|---|\n${lines.join('\n')}\n`;
  });
  return `# Errors

<!-- ${MADE} -->

Every error is answered as

    {"error": {"code", "message", "hint"?, "details"?, "taskId"?, "attempt"?}}

with the status of its code. A call whose task failed has the task's whole envelope, with the error in it. Retryable: the
same request, or the same task, can succeed later without being changed.

${sections.join('\n')}`;
}

function configurationPage(): string {
  const rows = configurationRows().map((row) => {
    const fallback = row.default === undefined ? '' : `\`${row.default}\``;
    return `| \`${row.variable}\` | ${row.parts.join(', ')} | ${fallback} | ${cell(row.description)} |`;
  });
  return `# Configuration

<!-- ${MADE} -->

Environment variables, read once at start. A wrong value and an unknown \`PILUM_…\` name keep a process from starting: it
says each problem on a line and ends with exit code 78.

| variable | read by | default | meaning |
|---|---|---|---|
${rows.join('\n')}
`;
}

function logEventsPage(): string {
  const rows = Object.entries(LOG_EVENTS)
    .toSorted(([a], [b]) => a.localeCompare(b, 'en'))
    .map(([name, { level, says, act }]) => `| \`${name}\` | ${level} | ${cell(says)} | ${cell(act)} |`);
  return `# Log lines

<!-- ${MADE} -->

Every line of the log of an API, a worker or \`npm run up\` is one JSON object with \`level\` (pino's numbers: 20 debug, 30 info, 40
warn, 50 error, 60 fatal), \`time\`, \`event\`, \`msg\`, and what it is about: \`taskId\`, \`artifactId\`, \`err\` with type, message and stack. The
name in \`event\` stays the same over releases: go by it in searches and alerts, because sentences change.

| event | level | line | what to do |
|---|---|---|---|
${rows.join('\n')}
`;
}

async function openApi(): Promise<string> {
  const { version: release } = require('../apps/api/package.json') as { version: string };
  // Only the schemas of the routes are looked at: what their handlers would need is not there.
  const parts = { payloadLimitBytes: 1, bullBoard: { register: async () => undefined } } as unknown as Services;
  const guard = { host: '127.0.0.1', port: 8080, key: null };
  const app = await buildApp(parts, { guard, logger: createLogger('docs', 'silent'), release });
  const { body } = await app.inject({ url: '/openapi.json', headers: { host: '127.0.0.1:8080' } });
  await app.close();
  return `${JSON.stringify(JSON.parse(body), null, 2)}\n`;
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function textOf(path: string): string | null {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return null;
  }
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const stale = await stalePages();
    if (stale.length > 0) {
      console.error(`${stale.join(', ')}: not what the code makes; run node tools/generate-docs.ts`);
      process.exitCode = 1;
    }
  } else {
    for (const [path, text] of await generatedPages()) writeFileSync(join(root, path), text);
  }
}
