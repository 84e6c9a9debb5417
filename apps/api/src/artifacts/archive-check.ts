import { ARCHIVE_LIMITS } from '@pilum/core/archives/archive-limits.ts';
import type { ArchiveFormat } from '@pilum/core/archives/archive-order.ts';
import { judgeArchive } from '@pilum/core/archives/archive-process.ts';
import { BadArchive, sentenceOf } from '@pilum/core/archives/bad-archive.ts';
import type { Verdict } from '@pilum/core/archives/judge.ts';
import { Turns } from '@pilum/core/archives/turns.ts';
import { invalid } from '../http/validation.ts';

/** Number of archives that one API process checks concurrently; others wait. */
const MOST_AT_ONCE = 2;

const turns = new Turns(MOST_AT_ONCE);

/**
 * Refuses an archive that no worker could unpack, by the rules that workers use. The archive is read in a process of its own, which
 * is killed if it takes too long.
 * @param wanted paths whose presence in the archive is reported
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
