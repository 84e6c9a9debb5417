import type { Version } from '@pilum/core/schemas/artifact.ts';
import { BadModule } from '@pilum/core/wasm/bytes-reader.ts';
import { readModuleHead } from '@pilum/core/wasm/module-head.ts';
import { moduleProblems } from '@pilum/core/wasm/module-problems.ts';
import { invalid } from '../http/validation.ts';

/**
 * Refuses a file that is not a module, or a module with an unknown import or without the export to call. Reads only the sections
 * before the code, and compiles nothing.
 * @param chunks the module from its beginning; reading stops as soon as enough is known
 * @throws RequestError `VALIDATION_FAILED` that names the problem
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
