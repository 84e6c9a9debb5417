import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { extract } from 'tar-stream';
import { removeContainer } from '../container.ts';
import { answered, statusOf } from '../engine.ts';

/** Size of a file that is read, bytes; a larger one says nothing. */
const MAX_FILE_BYTES = 1_048_576;

/** Looks at the files of one image. */
export interface ImageFiles {
  /** Returns the text of a file; empty where there is none. @throws whatever the client throws else */
  read(path: string): Promise<string>;
  /** Returns whether a directory has anything in it. @throws whatever the client throws */
  hasAny(directory: string): Promise<boolean>;
}

/**
 * Returns what `look` makes of the files of an image, which it sees through a container that is never started.
 * @throws whatever the client throws, and what `look` throws
 */
export async function lookInto<T>(
  engine: Docker,
  image: string,
  labels: Record<string, string>,
  look: (files: ImageFiles) => Promise<T>,
): Promise<T> {
  const container = await answered(
    engine.createContainer({
      Image: image,
      Entrypoint: ['/nothing'],
      Labels: labels,
      NetworkDisabled: true,
      HostConfig: { NetworkMode: 'none', LogConfig: { Type: 'none', Config: {} } },
    }),
  );
  try {
    return await look({
      read: (path) => readFile(container, path),
      hasAny: (directory) => hasAny(container, directory),
    });
  } finally {
    await removeContainer(engine, container.id);
  }
}

async function readFile(container: Docker.Container, path: string): Promise<string> {
  try {
    const archive = await answered(container.getArchive({ path }));
    const entries = archive.pipe(extract());
    for await (const entry of entries) {
      if ((entry.header.size ?? 0) <= MAX_FILE_BYTES && entry.header.type === 'file') return await text(entry);
    }
    return '';
  } catch (error) {
    if (statusOf(error) !== null) return '';
    throw error;
  }
}

async function hasAny(container: Docker.Container, directory: string): Promise<boolean> {
  const archive = (await answered(container.getArchive({ path: directory }))) as Readable;
  try {
    let members = 0;
    for await (const entry of archive.pipe(extract())) {
      entry.resume();
      members += 1;
      // The first one is the directory itself.
      if (members > 1) return true;
    }
    return false;
  } finally {
    // The Engine is not to send the rest.
    archive.destroy();
  }
}
