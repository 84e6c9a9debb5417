import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { Circumstances } from './circumstances.ts';
import type { Row } from './row.ts';
import { tableOf } from './table.ts';

/** Findings of one run. */
export interface Report extends Circumstances {
  readonly repeats: number;
  readonly sampleMs: number;
  readonly parts: readonly PartReport[];
}

export interface PartReport {
  readonly name: string;
  readonly tookS: number;
  readonly rows: readonly Row[];
  /** Reason why it has no rows; null where it has. */
  readonly error: string | null;
}

const RESULTS = new URL('../results/', import.meta.url);
const README = new URL('../README.md', import.meta.url);
const BEGIN = '<!-- begin: written by npm run bench -->';
const END = '<!-- end -->';

/** Keeps a run as `results/latest.json`. */
export async function writeResults(report: Report): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  await writeFile(new URL('latest.json', RESULTS), `${JSON.stringify(report, null, 2)}\n`);
}

/** Puts a run's table into README.md, in place of the one before. */
export async function writeReadme(report: Report): Promise<void> {
  const text = await readFile(README, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`bench/README.md has no place for the table: ${BEGIN} … ${END}`);
  await writeFile(README, `${text.slice(0, begin + BEGIN.length)}\n${statsOf(report)}\n${text.slice(end)}`);
}

/** All rows of a run, and below them the parts that have none. */
export function tableOfReport({ parts }: Report): string {
  const failures = parts.flatMap(({ name, error }) => (error === null ? [] : [`${name} failed: ${error}`]));
  const rows = parts.flatMap((part) => part.rows);
  return [...(rows.length === 0 ? [] : [tableOf(rows)]), ...failures].join('\n\n');
}

function statsOf(report: Report): string {
  const { at, commit, machine, versions, repeats, sampleMs } = report;
  const about =
    `Measured ${at.slice(0, 10)} at commit ${commit.slice(0, 12)}${commit.includes(' ') ? ' with changes' : ''}, on ` +
    `${machine.cores} cores (${machine.cpu}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}, with Node ` +
    `${versions.node}, Redis ${versions.redis}, BullMQ ${versions.bullmq}, Fastify ${versions.fastify} and undici ` +
    `${versions.undici}; ${repeats} repeats, samples of ${sampleMs} ms.`;
  return `\n${about}\n\n${tableOfReport(report)}\n`;
}
