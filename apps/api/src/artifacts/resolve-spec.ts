import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { ArtifactSpec, type ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { convert, type Problem } from '@pilum/core/schemas/check.ts';
import { languageOfInterpreter } from '@pilum/core/spec/interpreters.ts';
import { handlerEntry, type Language, languageOfFile } from '@pilum/core/spec/languages.ts';
import { type Protocol, protocolRow } from '@pilum/core/spec/protocols.ts';
import { isLayer, needsImage, type RuntimeKind, runtimeRow } from '@pilum/core/spec/runtimes.ts';
import { refuseSpecNotBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { type CodeSource, codeProblems, fileOf, hasFiles, sourceOf } from './code-source.ts';
import { corsProblems } from './cors-spec.ts';
import { DEFAULT_MODULE, entryProblems, layerProblems, programProblems } from './entry-spec.ts';
import { fieldsOfNoLayer, ignoredFields } from './honoured-fields.ts';
import { serverProblems } from './http-spec.ts';
import { networkProblems } from './network-spec.ts';
import { secretProblems } from './secret-spec.ts';
import { textSizeProblems } from './text-sizes.ts';
import { writableProblems } from './writable-spec.ts';

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
 * Fills in every default, those too that follow from other fields, and checks what no field can say alone: above all that
 * nothing is asked for which the runtime or the protocol would ignore.
 * @throws RequestError `NOT_IMPLEMENTED`, `FORBIDDEN` for a network that the operator has not allowed,
 *   `VALIDATION_FAILED` with every problem at once.
 */
export function resolveSpec(input: ArtifactSpecInput, options: ResolveOptions): ResolvedSpec {
  refuse(textSizeProblems(input));
  const { runtime } = input;
  if (isLayer(runtime)) {
    refuse([...fieldsOfNoLayer(input), ...codeProblems(input), ...layerProblems(input)]);
    return filledIn(input, { protocol: 'none' });
  }
  const protocol = input.protocol ?? defaultProtocol(input, runtime);
  refuseSpecNotBuilt(input, runtime, protocol);
  if (!runtimeRow(runtime).protocols.includes(protocol)) {
    const what = `must be one of ${runtimeRow(runtime).protocols.join(', ')} for runtime ${runtime}`;
    refuse([{ where: '/body/protocol', what }]);
  }
  const language = protocolRow(protocol).fields.language ? (input.language ?? languageOf(input)) : undefined;
  const entry = entryOf(input, protocol, language);
  refuse([
    ...codeProblems(input),
    ...programProblems(input, protocol),
    ...ignoredFields(input, runtime, protocol),
    ...entryProblems(input, protocol, { language, entry }),
    ...interpreterProblems(input, language),
    ...memoryProblems(input, runtime),
    ...checkProblems(input, protocol),
    ...serverProblems(input, protocol),
    ...corsProblems(input.cors),
    ...environmentProblems(input, protocol),
    ...secretProblems(input, runtime, protocol),
    ...writableProblems(input),
    ...networkProblems(input),
  ]);
  if (input.limits?.network === 'host' && !options.allowHostNetwork) {
    throw new RequestError('FORBIDDEN', {
      message: 'The network host is not allowed here.',
      hint: 'The operator allows it with PILUM_ALLOW_HOST_NETWORK=true and a PILUM_API_KEY; limits.network needs no permission for none, egress and a list of names.',
      details: { where: '/body/limits/network' },
    });
  }
  const ownImage = language === undefined ? undefined : options.images[language];
  const image = needsImage(runtime) ? (input.code?.image ?? ownImage) : undefined;
  return filledIn(input, { protocol, language, entry, code: image === undefined ? undefined : { image } });
}

/** The language of a spec that names none: that of its entry, then that of its interpreter. */
function languageOf({ entry, interpreter }: ArtifactSpecInput): Language {
  if (entry === undefined && interpreter !== undefined) return languageOfInterpreter(interpreter);
  return languageOfFile(fileOf(entry ?? ''));
}

function interpreterProblems({ interpreter }: ArtifactSpecInput, language: Language | undefined): Problem[] {
  if (interpreter === undefined || language === undefined || languageOfInterpreter(interpreter) === language) return [];
  return [{ where: '/body/interpreter', what: `is ${interpreter}, which does not run a function in ${language}` }];
}

/** The protocol of a spec that names none: a command, and an image alone, which has one of its own, is run for each task. */
function defaultProtocol({ code, command }: ArtifactSpecInput, runtime: RuntimeKind): Protocol {
  const { defaultProtocol: byContent } = runtimeRow(runtime);
  const isImageAlone = needsImage(runtime) && code?.image !== undefined && !hasFiles(code);
  return command !== undefined || isImageAlone ? byContent.command : byContent.code;
}

function entryOf({ entry }: ArtifactSpecInput, protocol: Protocol, language: Language | undefined): string | undefined {
  if (language !== undefined) return handlerEntry(language, entry);
  return protocolRow(protocol).runs === 'module' ? (entry ?? DEFAULT_MODULE) : entry;
}

function filledIn(
  input: ArtifactSpecInput,
  found: Partial<Pick<ArtifactSpec, 'protocol' | 'language' | 'entry' | 'code'>>,
): ResolvedSpec {
  const { code, check: _apart, ...rest } = structuredClone(input);
  const known = Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
  const spec = convert(ArtifactSpec, { ...rest, ...known }) as ArtifactSpec;
  return { spec, code: sourceOf(code, spec.entry) };
}

function memoryProblems({ limits }: ArtifactSpecInput, runtime: RuntimeKind): Problem[] {
  const { mostMemoryMiB } = runtimeRow(runtime);
  if (mostMemoryMiB === null || (limits?.memoryMiB ?? 0) <= mostMemoryMiB) return [];
  return [{ where: '/body/limits/memoryMiB', what: `must be at most ${mostMemoryMiB} for runtime ${runtime}` }];
}

/** A command of the machine's own is started with each task, and there is nothing to start before. */
function checkProblems({ runtime, code, check }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  if (runtime !== 'process' || protocol !== 'stdio' || check !== true || hasFiles(code)) return [];
  return [
    { where: '/body/check', what: 'is for what has code or is a server: a command alone has nothing to start ahead' },
  ];
}

function environmentProblems({ env = {} }: ArtifactSpecInput, protocol: Protocol): Problem[] {
  const { setsVariables } = protocolRow(protocol);
  return Object.keys(env)
    .filter((name) => setsVariables.test(name))
    .map((name) => ({ where: `/body/env/${name}`, what: 'is set by Pilum itself, and cannot be given' }));
}

/** @throws RequestError `VALIDATION_FAILED` where there is any problem */
function refuse(problems: Problem[]): void {
  if (problems.length > 0) throw invalid(problems);
}
