import {
  type ArtifactSpec,
  type ArtifactSpecInput,
  ArtifactSpec as Schema,
} from '@pilum/core/schemas/artifact-spec.ts';
import { convert, type Problem } from '@pilum/core/schemas/check.ts';
import { invalid } from '../http/validation.ts';
import { corsProblems } from './cors-spec.ts';
import type { ResolvedSpec } from './resolve-spec.ts';

const DEFAULT_ENTRY = 'main.wasm';
/** What a 32-bit memory can be at most. */
const MAX_MEMORY_MIB = 4096;

/**
 * The spec of a WebAssembly module with its defaults filled in.
 * @throws RequestError `VALIDATION_FAILED` with every problem at once
 */
export function resolveWasmSpec(input: ArtifactSpecInput): ResolvedSpec {
  const { code, ...rest } = structuredClone(input);
  const problems = [...codeProblems(code), ...otherProblems(input), ...corsProblems(input.cors)];
  if (problems.length > 0) throw invalid(problems);
  const entry = input.entry ?? DEFAULT_ENTRY;
  const spec = convert(Schema, { ...rest, protocol: 'wasi', entry }) as ArtifactSpec;
  const fileName = entry.split('#', 1)[0] ?? '';
  return { spec, code: { kind: 'blob', digest: code?.digest ?? '', format: 'file', fileName } };
}

function codeProblems(code: ArtifactSpecInput['code']): Problem[] {
  const where = '/body/code';
  if (code === undefined) return [{ where, what: 'is missing: runtime wasm runs a module' }];
  if (code.inline !== undefined) {
    const what = 'is text, and a module is binary: upload it with PUT /v1/blobs/sha256:… and give its digest';
    return [{ where: `${where}/inline`, what }];
  }
  if (code.image !== undefined) return [{ where: `${where}/image`, what: 'is for runtime docker, not for wasm' }];
  if (code.digest === undefined) return [{ where, what: 'needs digest' }];
  if (code.format === undefined || code.format === 'file') return [];
  return [{ where: `${where}/format`, what: 'must be file for runtime wasm: a module is one file' }];
}

function otherProblems(input: ArtifactSpecInput): Problem[] {
  const { writable, protocol, language, entry, command, limits, http, check } = input;
  const problems: Problem[] = [];
  if (check !== undefined) {
    problems.push({
      where: '/body/check',
      what: 'is for runtime process: a module is checked in any case',
    });
  }
  if (writable !== undefined)
    problems.push({ where: '/body/writable', what: 'is not for runtime wasm: a module has /tmp' });
  if (http !== undefined) problems.push({ where: '/body/http', what: 'is for protocol http, not for wasi' });
  if (protocol !== undefined && protocol !== 'wasi') {
    problems.push({ where: '/body/protocol', what: 'must be wasi for runtime wasm' });
  }
  if (language !== undefined) {
    problems.push({ where: '/body/language', what: 'is for protocol handler, not for wasi' });
  }
  const [file = '', name] = (entry ?? DEFAULT_ENTRY).split('#');
  if (!file.endsWith('.wasm')) problems.push({ where: '/body/entry', what: 'must name a .wasm file for runtime wasm' });
  if (name !== undefined && command !== undefined) {
    problems.push({
      where: '/body/command',
      what: 'is what a command is given; a function that is called by name has none',
    });
  }
  if (limits?.network === 'host') {
    problems.push({ where: '/body/limits/network', what: 'must be none for runtime wasm: a module has no network' });
  }
  if ((limits?.memoryMiB ?? 0) > MAX_MEMORY_MIB) {
    problems.push({ where: '/body/limits/memoryMiB', what: `must be at most ${MAX_MEMORY_MIB} for runtime wasm` });
  }
  return problems;
}
