import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import Docker from 'dockerode';
import { LABELS } from '../../apps/worker/src/runtimes/docker/labels.ts';

/** The Engine of this machine. */
export const engine = new Docker({ socketPath: '/var/run/docker.sock' });

/** What tests run; an Engine that a machine is prepared with has them all. */
export const IMAGES = {
  node: 'node:26-slim',
  python: 'python:3.11-slim-bookworm',
  debian: 'debian:bookworm-slim',
  busybox: 'busybox:1',
} as const;

/** Why there can be no tests with an Engine on this machine; null where there can. Where nothing may be skipped, it fails. */
export async function whyNoEngine(): Promise<string | null> {
  try {
    for (const image of Object.values(IMAGES)) await engine.getImage(image).inspect();
    return null;
  } catch (error) {
    if (process.env.CI) throw error;
    return `no Docker Engine with ${Object.values(IMAGES).join(', ')}: ${(error as Error).message}`;
  }
}

/** An image of this machine as a version holds it. */
export async function pinned(reference: string, user = '1000:1000'): Promise<PinnedImage> {
  const { Id } = await engine.getImage(reference).inspect();
  return { reference, id: Id, digest: null, user, sizeBytes: 0 };
}

/** Containers of a worker, of one of its instances where it is named, in whatever state. */
export async function containersOf(workerId: string, instanceId?: string): Promise<Docker.ContainerInfo[]> {
  const label = [`${LABELS.worker}=${workerId}`];
  if (instanceId !== undefined) label.push(`${LABELS.instance}=${instanceId}`);
  return await engine.listContainers({ all: true, filters: { label } });
}
