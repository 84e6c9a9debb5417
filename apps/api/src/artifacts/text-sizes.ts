import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';

/** Limit of a program's arguments and variables together, bytes. Linux allows twice as much, which leaves room for those of Pilum. */
const MOST_ARGUMENT_BYTES = 1_048_576;
/** Longest file name, bytes, as file systems have it. */
const MOST_NAME_BYTES = 255;

/** Returns a problem for each text of a spec that is too long in bytes; schemas count characters only. */
export function textSizeProblems({ command = [], env = {}, entry = '' }: ArtifactSpecInput): Problem[] {
  const problems: Problem[] = [];
  let bytes = 0;
  for (const text of [...command, ...Object.entries(env).flat()]) bytes += Buffer.byteLength(text) + 1;
  if (bytes > MOST_ARGUMENT_BYTES) {
    const what = `and command have ${bytes} bytes, and they may have ${MOST_ARGUMENT_BYTES} together: put what is large into the code`;
    problems.push({ where: '/body/env', what });
  }
  if (entry.split(/[/#]/).some((name) => Buffer.byteLength(name) > MOST_NAME_BYTES)) {
    const what = `has the name of a file with more than ${MOST_NAME_BYTES} bytes`;
    problems.push({ where: '/body/entry', what });
  }
  return problems;
}
