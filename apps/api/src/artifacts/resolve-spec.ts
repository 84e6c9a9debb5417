import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { ArtifactSpec, type ArtifactSpecInput, NEEDS_IMAGE, type Protocol } from '@pilum/core/schemas/artifact-spec.ts';
import { convert, type Problem } from '@pilum/core/schemas/check.ts';
import { refuseSpecNotBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { type CodeSource, codeProblems, fileOf, sourceOf } from './code-source.ts';
import { corsProblems } from './cors-spec.ts';
import { serverProblems } from './http-spec.ts';
import { resolveLayerSpec } from './layer-spec.ts';
import { textSizeProblems } from './text-sizes.ts';
import { resolveWasmSpec } from './wasm-spec.ts';
import { writableProblems } from './writable-spec.ts';

type Language = NonNullable<ArtifactSpec['language']>;

/** What is particular to a language: the files that it runs, and what is run where no `entry` is given. */
const LANGUAGES: Readonly<Record<Language, { extensions: readonly string[]; file: string; export: string }>> = {
  node: { extensions: ['mjs', 'js', 'cjs', 'ts', 'mts', 'cts'], file: 'index.mjs', export: 'default' },
  python: { extensions: ['py'], file: 'main.py', export: 'handler' },
};

export interface ResolvedSpec {
  /** With every default filled in, and without the code; of that only the image stands in it. */
  readonly spec: Version['spec'];
  /** Null: the program is the machine's own, or the image's. */
  readonly code: CodeSource | null;
}

export interface ResolveOptions {
  readonly allowHostNetwork: boolean;
  /** The image for code of a language that names none. */
  readonly images: Readonly<Record<Language, string>>;
}

/**
 * Fills in every default, those too that follow from other fields, and checks what no field can say alone.
 * @throws RequestError `NOT_IMPLEMENTED`, `FORBIDDEN` for a network that the operator has not allowed,
 *   `VALIDATION_FAILED` with every problem at once.
 */
export function resolveSpec(input: ArtifactSpecInput, options: ResolveOptions): ResolvedSpec {
  const tooLong = textSizeProblems(input);
  if (tooLong.length > 0) throw invalid(tooLong);
  if (input.runtime === 'layer') return resolveLayerSpec(input);
  refuseSpecNotBuilt(input);
  if (input.runtime === 'wasm') return resolveWasmSpec(input);
  const { code, check: _apart, ...rest } = structuredClone(input);
  const needsImage = NEEDS_IMAGE[input.runtime];
  const isImageAlone =
    needsImage && code?.image !== undefined && code.inline === undefined && code.digest === undefined;
  const protocol = input.protocol ?? (input.command === undefined && !isImageAlone ? 'handler' : 'stdio');
  const problems = [
    ...codeProblems(input),
    ...(protocol === 'handler' ? handlerProblems(input) : commandProblems(input, protocol)),
    ...serverProblems(input, protocol),
    ...corsProblems(input.cors),
    ...environmentProblems(input, protocol),
    ...writableProblems(input),
  ];
  if (input.check !== undefined && input.runtime !== 'process') {
    const what = 'is for runtime process: a version of another runtime is not started before it is ready';
    problems.push({ where: '/body/check', what });
  }
  const language = protocol === 'handler' ? (input.language ?? languageOf(input.entry)) : undefined;
  const entry = language === undefined ? input.entry : entryOf(language, input.entry);
  if (language !== undefined) problems.push(...extensionProblems(language, entry ?? ''));
  if (problems.length > 0) throw invalid(problems);
  const image = needsImage
    ? (code?.image ?? (language === undefined ? undefined : options.images[language]))
    : undefined;
  const spec = convert(ArtifactSpec, {
    ...rest,
    protocol,
    ...(language === undefined ? {} : { language }),
    ...(entry === undefined ? {} : { entry }),
    ...(image === undefined ? {} : { code: { image } }),
  }) as ArtifactSpec;
  if (spec.limits.network === 'host' && !options.allowHostNetwork) {
    throw new RequestError('FORBIDDEN', {
      message: 'The network host is not allowed here.',
      hint: 'The operator allows it with PILUM_ALLOW_HOST_NETWORK=true and a PILUM_API_KEY; limits.network none needs no permission.',
      details: { where: '/body/limits/network' },
    });
  }
  return { spec, code: sourceOf(code, entry) };
}

function handlerProblems({ code, command }: ArtifactSpecInput): Problem[] {
  const problems: Problem[] = [];
  if (code === undefined) problems.push({ where: '/body/code', what: 'is missing: protocol handler runs code' });
  else if (code.image !== undefined && code.inline === undefined && code.digest === undefined) {
    const what = 'has an image only: protocol handler runs code, given by inline or digest, in the image';
    problems.push({ where: '/body/code', what });
  }
  if (command !== undefined)
    problems.push({ where: '/body/command', what: 'is for protocols stdio and http, not for handler' });
  return problems;
}

function commandProblems(
  { runtime, code, command, entry, language }: ArtifactSpecInput,
  protocol: Protocol,
): Problem[] {
  const problems: Problem[] = [];
  const hasCode = code?.inline !== undefined || code?.digest !== undefined;
  const isFile = hasCode && (code.inline !== undefined || (code.format ?? 'file') === 'file');
  const needsImage = NEEDS_IMAGE[runtime];
  if (needsImage && code?.image === undefined) {
    problems.push({ where: '/body/code/image', what: `is missing: runtime ${runtime} runs a command in an image` });
  }
  // An image may have a command of its own, but that knows nothing of code that is put beside it.
  if (command === undefined && !(needsImage && !hasCode)) {
    problems.push({ where: '/body/command', what: `is missing: protocol ${protocol} runs a command` });
  }
  if (command?.[0] === '') problems.push({ where: '/body/command/0', what: 'is empty' });
  // What becomes it would take the first for an option, and the second for a variable.
  if (command?.[0]?.startsWith('-') || command?.[0]?.includes('=')) {
    const what = 'must name a program: it does not begin with - and has no =';
    problems.push({ where: '/body/command/0', what });
  }
  if (language !== undefined)
    problems.push({ where: '/body/language', what: `is for protocol handler, not for ${protocol}` });
  if (isFile && entry === undefined) {
    problems.push({ where: '/body/entry', what: 'is missing: it names the file that the command finds the code in' });
  }
  if (!isFile && entry !== undefined) {
    problems.push({ where: '/body/entry', what: 'is for code that is one file; the command says what is run' });
  }
  if (entry?.includes('#'))
    problems.push({ where: '/body/entry', what: `names an export, which ${protocol} does not have` });
  return problems;
}

/** What every command is told of its task, and where a bootstrap finds its worker: whatever a version says would be lost. */
const SET_FOR_EACH_TASK =
  /^PILUM_(?:TASK_ID|ARTIFACT_ID|VERSION|NAMESPACE|ATTEMPT|DEADLINE_MS|CONTENT_TYPE|HTTP_METHOD|HTTP_URL)$/;

function environmentProblems({ env = {} }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  const isTaken = (name: string) => name === 'PILUM_CHANNEL' || (protocol === 'stdio' && SET_FOR_EACH_TASK.test(name));
  return Object.keys(env)
    .filter(isTaken)
    .map((name) => ({ where: `/body/env/${name}`, what: 'is set by Pilum itself, and cannot be given' }));
}

function extensionProblems(language: Language, entry: string): Problem[] {
  const { extensions } = LANGUAGES[language];
  const file = fileOf(entry);
  if (extensions.some((extension) => file.endsWith(`.${extension}`))) return [];
  const known = extensions.map((extension) => `.${extension}`).join(', ');
  return [{ where: '/body/entry', what: `must name a file for language ${language}: ${known}` }];
}

function languageOf(entry: string | undefined): Language {
  return entry !== undefined && fileOf(entry).endsWith('.py') ? 'python' : 'node';
}

function entryOf(language: Language, entry: string | undefined): string {
  const { file, export: name } = LANGUAGES[language];
  if (entry === undefined) return `${file}#${name}`;
  return entry.includes('#') ? entry : `${entry}#${name}`;
}
