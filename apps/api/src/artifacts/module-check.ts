import type { Version } from '@pilum/core/schemas/artifact.ts';
import { BadModule } from '@pilum/core/wasm/bytes-reader.ts';
import { readModuleHead } from '@pilum/core/wasm/module-head.ts';
import { moduleProblems } from '@pilum/core/wasm/module-problems.ts';
import { invalid } from '../http/validation.ts';

/**
 * Refuses at once a module that no worker could run: one that imports what is not there, does not export what is to be
 * called, or is none. Only what stands before the code is read, and nothing is compiled.
 * @param chunks the module from its beginning; given up as soon as enough of it was read
 * @throws RequestError `VALIDATION_FAILED` that says what is wrong with it
 */
export async function checkModule(chunks: AsyncIterable<Buffer>, { entry, limits }: Version['spec']): Promise<void> {
  const [, exportName = null] = (entry ?? '').split('#');
  const problems = await problemsOf(chunks, exportName, limits.memoryMiB);
  if (problems.length > 0) throw invalid(problems.map((what) => ({ where: '/body/code', what })));
}

async function problemsOf(
  chunks: AsyncIterable<Buffer>,
  exportName: string | null,
  memoryMiB: number,
): Promise<string[]> {
  try {
    return moduleProblems(await readModuleHead(chunks), exportName, memoryMiB);
  } catch (error) {
    if (error instanceof BadModule) return [error.message];
    throw error;
  }
}
