import { CODE_FORMS, PILUM_FIELDS, PROTOCOL_FIELDS, RUNTIME_FIELDS } from '@pilum/core/spec/fields.ts';
import { LANGUAGE_NAMES, LANGUAGES } from '@pilum/core/spec/languages.ts';
import { isHonouredBy, PROTOCOLS, protocolRow } from '@pilum/core/spec/protocols.ts';
import { RUNTIME_KINDS, runtimeRow } from '@pilum/core/spec/runtimes.ts';
import { WALL_NAMES, WALLS } from '@pilum/core/spec/walls.ts';

const RUNS = { function: 'a function in code', command: 'a command', module: 'a WebAssembly module' } as const;
const CALLS = { one: '1', 'one-so-far': '1', many: '`pool.concurrency`' } as const;

/** The page about what runs what: the tables of `core/spec` as a reader sees them. */
export function runtimesPage(note: string): string {
  return `# Runtimes, protocols and languages

${note}

A runtime starts instances, a protocol says how a task is put to one, and a language is that of a handler. What a spec asks
for and its runtime or protocol would ignore is refused when it is deployed: 400 \`VALIDATION_FAILED\`, with the field and the
reason. A value that is the default asks for nothing and is taken, so that the spec of a version can be sent again as it is shown.
What is agreed and not built yet is 501 \`NOT_IMPLEMENTED\`.

## Runtimes

| runtime | built | protocols | where none is said | code |
|---|---|---|---|---|
${RUNTIME_KINDS.map((kind) => {
  const { isBuilt, protocols, defaultProtocol, codeFrom } = runtimeRow(kind);
  const forms = CODE_FORMS.filter((form) => codeFrom[form] === true);
  const { code, command } = defaultProtocol;
  const usual = code === command ? names([code]) : `${names([code])}, or ${names([command])} for a command`;
  return row([names([kind]), yes(isBuilt), names(protocols), usual, names(forms)]);
}).join('\n')}

\`"runtime": "layer"\` is no runtime: it makes an artifact that holds files for others and runs nothing.

## Protocols

| protocol | built | runs | tasks at once in one instance |
|---|---|---|---|
${PROTOCOLS.map((name) => {
  const { isBuilt, runs, callsAtOnce } = protocolRow(name);
  return row([names([name]), yes(isBuilt), RUNS[runs], CALLS[callsAtOnce]]);
}).join('\n')}

## Languages

| language | files | entry by default |
|---|---|---|
${LANGUAGE_NAMES.map((name) => {
  const { extensions, defaultFile, defaultExport } = LANGUAGES[name];
  return row([names([name]), names(extensions.map((end) => `.${end}`)), names([`${defaultFile}#${defaultExport}`])]);
}).join('\n')}

## Walls

What stands around an instance. \`GET /v1/workers\` says for each runtime of a worker which are in force on its machine, and why others are
not; \`PILUM_REQUIRE\` names those without which nothing runs.

| wall | what it holds |
|---|---|
${WALL_NAMES.map((name) => row([names([name]), WALLS[name]])).join('\n')}

## Fields

Honoured whatever runs: ${names(PILUM_FIELDS)}.

| field | ${RUNTIME_KINDS.join(' | ')} |
|---|${RUNTIME_KINDS.map(() => '---|').join('')}
${RUNTIME_FIELDS.map((field) =>
  row([
    names([field]),
    ...RUNTIME_KINDS.map((kind) => {
      const honoured = runtimeRow(kind).fields[field];
      return honoured === true ? 'yes' : `no: ${honoured}`;
    }),
  ]),
).join('\n')}

| field | ${PROTOCOLS.join(' | ')} |
|---|${PROTOCOLS.map(() => '---|').join('')}
${PROTOCOL_FIELDS.map((field) => row([names([field]), ...PROTOCOLS.map((name) => yes(isHonouredBy(name, field)))])).join('\n')}
`;
}

const names = (texts: readonly string[]) => texts.map((text) => `\`${text}\``).join(', ');
const yes = (is: boolean) => (is ? 'yes' : 'no');
const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
