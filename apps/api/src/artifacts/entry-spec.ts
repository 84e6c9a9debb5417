import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { isOfLanguage, LANGUAGES, type Language } from '@pilum/core/spec/languages.ts';
import { type Protocol, protocolRow } from '@pilum/core/spec/protocols.ts';
import { needsImage } from '@pilum/core/spec/runtimes.ts';
import { fileOf, hasFiles, isOneFile } from './code-source.ts';

export const DEFAULT_MODULE = 'main.wasm';

/** Names what is wrong with the code and the command of a spec, whatever its entry says. */
export function programProblems(input: ArtifactSpecInput, protocol: Protocol): Problem[] {
  switch (protocolRow(protocol).runs) {
    case 'function':
      return functionProblems(input, protocol);
    case 'command':
      return commandProblems(input, protocol);
    case 'module':
      return moduleProblems(input);
  }
}

/** Names what is wrong with the entry of a spec, with the defaults of its language or of a module filled in. */
export function entryProblems(
  { runtime, code, entry: asked }: ArtifactSpecInput,
  protocol: Protocol,
  { language, entry = '' }: { readonly language: Language | undefined; readonly entry: string | undefined },
): Problem[] {
  const where = '/body/entry';
  if (language !== undefined) {
    if (isOfLanguage(language, fileOf(entry))) return [];
    const known = LANGUAGES[language].extensions.map((extension) => `.${extension}`).join(', ');
    return [{ where, what: `must name a file for language ${language}: ${known}${ofLambda(entry, language)}` }];
  }
  if (protocolRow(protocol).runs === 'module') {
    return fileOf(entry).endsWith('.wasm') ? [] : [{ where, what: `must name a .wasm file for runtime ${runtime}` }];
  }
  return nameProblems(code, asked, {
    missing: 'it names the file that the command finds the code in',
    needless: 'is for code that is one file; the command says what is run',
    owner: protocol,
  });
}

/** Returns the entry for the handler of another platform, `index.handler`, as it is written here; '' for any other entry. */
function ofLambda(entry: string, language: Language): string {
  const { extensions, defaultExport } = LANGUAGES[language];
  const [, file, name] = /^((?:[\w-]+\/)*[\w-]+)\.(\w+)(?:#.*)?$/.exec(entry) ?? [];
  if (file === undefined) return '';
  return `; ${file}.${name} of AWS Lambda is ${file}.${extensions[0]}#${name === undefined ? defaultExport : name} here`;
}

function functionProblems({ code }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  if (code === undefined) return [{ where: '/body/code', what: `is missing: protocol ${protocol} runs code` }];
  if (code.image === undefined || hasFiles(code)) return [];
  const what = `has an image only: protocol ${protocol} runs code, given by inline or digest, in the image`;
  return [{ where: '/body/code', what }];
}

function commandProblems({ runtime, code, command }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  const problems: Problem[] = [];
  const inImage = needsImage(runtime);
  if (inImage && code?.image === undefined) {
    problems.push({ where: '/body/code/image', what: `is missing: runtime ${runtime} runs a command in an image` });
  }
  // An image may have a command of its own, but that knows nothing of code that is put beside it.
  if (command === undefined && !(inImage && !hasFiles(code))) {
    problems.push({ where: '/body/command', what: `is missing: protocol ${protocol} runs a command` });
  }
  if (command?.[0] === '') problems.push({ where: '/body/command/0', what: 'is empty' });
  // What becomes it would take the first for an option, and the second for a variable.
  if (command?.[0]?.startsWith('-') || command?.[0]?.includes('=')) {
    const what = 'must name a program: it does not begin with - and has no =';
    problems.push({ where: '/body/command/0', what });
  }
  return problems;
}

function moduleProblems({ runtime, code, command, entry }: ArtifactSpecInput): Problem[] {
  const problems: Problem[] = [];
  if (code === undefined) problems.push({ where: '/body/code', what: `is missing: runtime ${runtime} runs a module` });
  if (entry?.includes('#') && command !== undefined) {
    const what = 'is what a command is given; a function that is called by name has none';
    problems.push({ where: '/body/command', what });
  }
  return problems;
}

interface NameWords {
  /** Reason why a file has to have a name. */
  readonly missing: string;
  /** Reason why anything but a file has none. */
  readonly needless: string;
  /** Name of the thing that has no exports. */
  readonly owner: string;
}

/** Finds what is wrong with an entry that names nothing but the one file that the code is. */
function nameProblems(code: ArtifactSpecInput['code'], entry: string | undefined, words: NameWords): Problem[] {
  const where = '/body/entry';
  const problems: Problem[] = [];
  if (isOneFile(code) && entry === undefined) problems.push({ where, what: `is missing: ${words.missing}` });
  if (!isOneFile(code) && entry !== undefined) problems.push({ where, what: words.needless });
  if (entry?.includes('#')) problems.push({ where, what: `names an export, which ${words.owner} does not have` });
  return problems;
}

/** Names what is wrong with the files of a layer. */
export function layerProblems({ code, entry }: ArtifactSpecInput): Problem[] {
  if (code === undefined) return [{ where: '/body/code', what: 'is missing: a layer holds files' }];
  return nameProblems(code, entry, {
    missing: 'it names the file that the layer holds',
    needless: 'is for a layer of one file; an archive names its own',
    owner: 'a layer',
  });
}
