import {
  type ArtifactSpec,
  type ArtifactSpecInput,
  ArtifactSpec as Schema,
} from '@pilum/core/schemas/artifact-spec.ts';
import { convert, type Problem } from '@pilum/core/schemas/check.ts';
import { refuseSpecNotBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { codeProblems, sourceOf } from './code-source.ts';
import type { ResolvedSpec } from './resolve-spec.ts';

/** What a layer may say of itself: the rest is for what runs. */
const FIELDS: readonly string[] = ['runtime', 'code', 'entry', 'labels'];

/**
 * The spec of a layer with its defaults filled in.
 * @throws RequestError `VALIDATION_FAILED` with every problem at once, `NOT_IMPLEMENTED`
 */
export function resolveLayerSpec(input: ArtifactSpecInput): ResolvedSpec {
  const problems = [...otherFields(input), ...fileProblems(input)];
  if (problems.length > 0) throw invalid(problems);
  refuseSpecNotBuilt(input);
  const { code, ...rest } = structuredClone(input);
  const spec = convert(Schema, { ...rest, protocol: 'none' }) as ArtifactSpec;
  return { spec, code: sourceOf(code, input.entry) };
}

function otherFields(input: ArtifactSpecInput): Problem[] {
  const others = Object.keys(input).filter((name) => !FIELDS.includes(name));
  return others.map((name) => {
    const why = name === 'dependsOn' ? 'depends on no other layer' : 'runs nothing: it has code, entry and labels';
    return { where: `/body/${name}`, what: `is not for a layer, which ${why}` };
  });
}

function fileProblems(input: ArtifactSpecInput): Problem[] {
  const { code, entry } = input;
  if (code === undefined) return [{ where: '/body/code', what: 'is missing: a layer holds files' }];
  const problems = codeProblems(input);
  const isFile = code.inline !== undefined || (code.format ?? 'file') === 'file';
  if (isFile && entry === undefined) {
    problems.push({ where: '/body/entry', what: 'is missing: it names the file that the layer holds' });
  }
  if (!isFile && entry !== undefined) {
    problems.push({ where: '/body/entry', what: 'is for a layer of one file; an archive names its own' });
  }
  if (entry?.includes('#'))
    problems.push({ where: '/body/entry', what: 'names an export, which a layer does not have' });
  return problems;
}
