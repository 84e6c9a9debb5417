// @needs docker
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import { LABELS } from '../../apps/worker/src/runtimes/docker/labels.ts';

const SOCKET = '/var/run/docker.sock';
export const ENGINE_HOST = `unix://${SOCKET}`;

/** The Engine of this machine. */
export const engine = new Docker({ socketPath: SOCKET });

/** What tests run; an Engine that a machine is prepared with has them all. */
export const IMAGES = {
  node: 'node:26-slim',
  python: 'python:3.11-slim-bookworm',
  debian: 'debian:bookworm-slim',
  busybox: 'busybox:1',
} as const;

/**
 * Why there can be no tests with an Engine on this machine; null where there can. Images that it lacks are pulled. In CI,
 * where nothing may be skipped, it fails.
 */
export async function whyNoEngine(): Promise<string | null> {
  try {
    for (const image of Object.values(IMAGES)) {
      const isHere = await engine
        .getImage(image)
        .inspect()
        .catch((error: { statusCode?: number }) => {
          if (error.statusCode !== 404) throw error;
          return null;
        });
      if (isHere === null) await pull(image);
    }
    return null;
  } catch (error) {
    if (process.env.CI) throw error;
    const reason = `no Docker Engine with ${Object.values(IMAGES).join(', ')}: ${(error as Error).message}`;
    console.warn(`Tests of functions in containers are skipped: ${reason}`);
    return reason;
  }
}

async function pull(image: string): Promise<void> {
  const stream = await engine.pull(image);
  await new Promise<void>((resolve, reject) => {
    engine.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()));
  });
}

/** An image of this machine as a version holds it. */
export async function pinned(reference: string, user = '1000:1000'): Promise<PinnedImage> {
  const { Id } = await engine.getImage(reference).inspect();
  return { reference, id: Id, digest: null, user, sizeBytes: 0 };
}

/** Images that were made: under a tag that another one has got since, one is left without a name. */
const made = new Set<string>();

/** Removes every image that this file's tests have made. */
export async function removeMadeImages(): Promise<void> {
  for (const id of made) await removeImage(id);
  made.clear();
}

/**
 * Makes an image of another one, with changes in the words of a Dockerfile; to be removed with {@link removeMadeImages}.
 * @param script what a shell does in it first, as root
 */
export async function makeImage(
  tag: string,
  from: string,
  changes: string[] = [],
  script?: string,
): Promise<PinnedImage> {
  const container = await engine.createContainer({ Image: from, Cmd: ['sh', '-ec', script ?? 'true'] });
  try {
    if (script !== undefined) {
      await container.start();
      const { StatusCode } = await container.wait();
      if (StatusCode !== 0) throw new Error(`the script of an image ended with exit code ${StatusCode}`);
    }
    const { repo, version } = partsOf(tag);
    const said = changes.length === 0 ? {} : { changes: changes.join('\n') };
    await container.commit({ repo, tag: version, ...said });
  } finally {
    await container.remove({ force: true });
  }
  const image = await pinned(tag);
  made.add(image.id);
  return image;
}

function partsOf(tag: string): { repo: string; version: string } {
  const colon = tag.lastIndexOf(':');
  return { repo: tag.slice(0, colon), version: tag.slice(colon + 1) };
}

/** Returns what the command of an image prints when the Engine runs it with nothing said, as `docker run` does. */
export async function runPlain(image: string): Promise<string> {
  const container = await engine.createContainer({ Image: image, Tty: true });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true })).toString().replaceAll('\r', '');
  } finally {
    await container.remove({ force: true, v: true });
  }
}

/** Makes an image that says nothing of itself. */
export async function makeBareImage(tag: string): Promise<void> {
  const { repo, version } = partsOf(tag);
  const archive = pack();
  archive.entry({ name: 'file' }, 'content');
  archive.finalize();
  const said = await engine.importImage(archive as unknown as NodeJS.ReadableStream, { repo, tag: version });
  for await (const _ of said);
}

/** Makes an image that has one file of another one, and nothing else: no shell, no library. */
export async function makeImageOfOneFile(tag: string, from: string, path: string): Promise<PinnedImage> {
  const { repo, version } = partsOf(tag);
  const container = await engine.createContainer({ Image: from, Cmd: ['true'] });
  try {
    const archive = await container.getArchive({ path });
    for await (const _ of await engine.importImage(archive, { repo, tag: version }));
  } finally {
    await container.remove({ force: true });
  }
  const image = await pinned(tag);
  made.add(image.id);
  return image;
}

/** Removes an image by one of its names; it stays where a container uses it. */
export async function removeImage(tag: string): Promise<void> {
  await engine
    .getImage(tag)
    .remove({ force: true })
    .catch(() => undefined);
}

/** The Engine behind a socket that can be taken away from under whoever uses it. */
export class EngineProxy {
  readonly path: string;
  readonly #connections = new Set<Socket>();
  #server: Server | null = null;

  constructor(path: string) {
    this.path = path;
  }

  get host(): string {
    return `unix://${this.path}`;
  }

  /** The Engine is there. */
  async open(): Promise<void> {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const upstream = connect({ path: SOCKET, allowHalfOpen: true });
      for (const socket of [client, upstream]) {
        this.#connections.add(socket);
        socket.on('error', () => {
          client.destroy();
          upstream.destroy();
        });
        socket.once('close', () => this.#connections.delete(socket));
      }
      client.pipe(upstream);
      upstream.pipe(client);
    }).listen(this.path);
    await once(this.#server, 'listening');
  }

  /** It is gone, and every connection to it is broken. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#connections) socket.destroy();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }
}

/** Containers of a worker, of one of its instances where it is named, in whatever state. */
export async function containersOf(workerId: string, instanceId?: string): Promise<Docker.ContainerInfo[]> {
  const label = [`${LABELS.worker}=${workerId}`];
  if (instanceId !== undefined) label.push(`${LABELS.instance}=${instanceId}`);
  return await engine.listContainers({ all: true, filters: { label } });
}
