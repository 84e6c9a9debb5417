import { createReadStream, fstatSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { ArchiveOrder, ArchiveReply } from './archive-order.ts';
import { BadArchive } from './bad-archive.ts';
import { judge, verdictOf } from './judge.ts';
import type { MemberReader } from './member.ts';
import { readTar } from './tar-reader.ts';
import { unpack } from './unpack.ts';

/**
 * The program that reads archives, so that nothing that one is made of can hold up or end whoever wants to know: its
 * order is its argument, the archive its standard input, what it says one line of JSON.
 */
const order = JSON.parse(process.argv[2] ?? '') as ArchiveOrder;
const NICENESS = 5;
setPriority(NICENESS);
process.umask(0o022);

function membersOf({ limits }: ArchiveOrder): MemberReader {
  const isFile = fstatSync(0).isFile();
  return () => {
    const bytes = createReadStream('', {
      fd: 0,
      autoClose: false,
      highWaterMark: 256 * 1024,
      // A file can be read again from its beginning; a pipe cannot.
      ...(isFile ? { start: 0 } : {}),
    });
    return readTar(bytes, limits);
  };
}

async function obey(): Promise<ArchiveReply> {
  const members = membersOf(order);
  try {
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
