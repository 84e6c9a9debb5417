import { createReadStream, fstatSync } from 'node:fs';
import { setPriority } from 'node:os';
import { buffer } from 'node:stream/consumers';
import type { ArchiveOrder, ArchiveReply } from './archive-order.ts';
import { BadArchive } from './bad-archive.ts';
import { judge, verdictOf } from './judge.ts';
import type { MemberReader } from './member.ts';
import { readTar } from './tar-reader.ts';
import { unpack } from './unpack.ts';
import { readZip } from './zip-reader.ts';

/**
 * The program that reads archives, so that nothing that one is made of can hold up or end whoever wants to know: its
 * order is its argument, the archive its standard input, what it says one line of JSON.
 */
const order = JSON.parse(process.argv[2] ?? '') as ArchiveOrder;
const NICENESS = 5;
setPriority(NICENESS);
process.umask(0o022);

/** The archive once more from its beginning: a file can be read again, and what comes through a pipe is only judged. */
const bytesOf = (isFile: boolean) =>
  createReadStream('', { fd: 0, autoClose: false, highWaterMark: 256 * 1024, ...(isFile ? { start: 0 } : {}) });

async function membersOf({ format, limits }: ArchiveOrder): Promise<MemberReader> {
  const isFile = fstatSync(0).isFile();
  if (format === 'tar') return () => readTar(bytesOf(isFile), limits);
  const source = isFile ? { file: 0 } : { bytes: await buffer(bytesOf(false)) };
  let isFirst = true;
  return () => {
    // What is damaged is found at the first look, before anything is made.
    const isChecked = isFirst;
    isFirst = false;
    return readZip(source, limits, isChecked);
  };
}

async function obey(): Promise<ArchiveReply> {
  try {
    const members = await membersOf(order);
    const tree = await judge(members, order.limits);
    if (order.directory === undefined) return { verdict: verdictOf(tree, order.wanted ?? []) };
    return { files: await unpack(tree, members, order.directory) };
  } catch (error) {
    if (error instanceof BadArchive) return { problem: error.problem };
    const { code } = error as NodeJS.ErrnoException;
    return { failure: code ?? (error instanceof Error ? error.message : String(error)) };
  }
}

process.stdout.write(JSON.stringify(await obey()), () => process.exit());
