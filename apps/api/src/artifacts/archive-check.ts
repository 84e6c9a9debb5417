import { ARCHIVE_LIMITS } from '@pilum/core/archives/archive-limits.ts';
import type { ArchiveFormat } from '@pilum/core/archives/archive-order.ts';
import { judgeArchive } from '@pilum/core/archives/archive-process.ts';
import { BadArchive, sentenceOf } from '@pilum/core/archives/bad-archive.ts';
import type { Verdict } from '@pilum/core/archives/judge.ts';
import { Turns } from '@pilum/core/archives/turns.ts';
import { invalid } from '../http/validation.ts';

/** Archives that one API process judges at once; the others wait in line. */
const MOST_AT_ONCE = 2;

const turns = new Turns(MOST_AT_ONCE);

/**
 * Judges every member of an archive as a worker will, and refuses at once what none could unpack. It is read in a process
 * of its own, which is killed where that takes long.
 * @param wanted paths in it that somebody wants to know of
 * @throws RequestError `VALIDATION_FAILED` that names the member and says what is wrong with it
 */
export async function checkArchive(
  archive: AsyncIterable<Buffer>,
  format: ArchiveFormat,
  wanted: readonly string[],
): Promise<Verdict> {
  try {
    return await turns.take(() => judgeArchive({ order: { format, limits: ARCHIVE_LIMITS, wanted }, archive }));
  } catch (error) {
    if (!(error instanceof BadArchive)) throw error;
    const { problem } = error;
    if (problem.isOtherFormat) {
      throw invalid([{ where: '/body/code/format', what: `says ${format}, but ${sentenceOf(problem)}` }], problem.hint);
    }
    const what = `is an archive that cannot be unpacked: ${sentenceOf(problem)}`;
    throw invalid([{ where: '/body/code', what }], problem.hint);
  }
}
