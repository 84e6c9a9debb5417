import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { CodeLocation } from '@pilum/core/schemas/artifact.ts';
import { isArgument } from '@pilum/core/schemas/text.ts';
import { staysInside, type TextsOfVersion, versionTextProblems } from '@pilum/core/schemas/version-texts.ts';

/**
 * Refuses a version with a text in it that would become something else where it is used. The API has refused it, unless an
 * earlier release has taken it.
 * @throws InstanceError `INSTANCE_START_FAILED`
 */
export function requireUsableTexts(version: TextsOfVersion): void {
  const [problem] = versionTextProblems(version);
  if (problem === undefined) return;
  throw refusal(`${problem.where} of the version ${problem.what.replace(/\.$/, '')}`);
}

/**
 * Refuses the name of a file that would not lie where the code lies.
 * @throws InstanceError `INSTANCE_START_FAILED`
 */
export function requireUsableFileName(code: CodeLocation): void {
  if (!staysInside(code)) throw refusal('the name of its file is not one of a file within its code');
}

/**
 * Arguments and variables, each of which is then one for whoever is given them: the last look before they are handed over.
 * @throws InstanceError `INSTANCE_START_FAILED` where one would end early, and the rest of it be another
 */
export function requireArguments(texts: readonly string[]): readonly string[] {
  for (const text of texts) {
    if (!isArgument(text)) throw refusal('an argument or a variable holds a NUL character or half a character');
  }
  return texts;
}

const refusal = (what: string) =>
  new InstanceError('INSTANCE_START_FAILED', {
    message: `No instance can be started: ${what}.`,
    hint: 'Deploy it again without that.',
  });
