import { execa } from 'execa';

/** Returns the version of a Node, such as `22.14.0`; null where it is none that runs. */
export async function nodeVersion(path: string): Promise<string | null> {
  if (path === process.execPath) return process.versions.node;
  const result = await execa(path, ['--version'], {
    reject: false,
    stdin: 'ignore',
    timeout: 10_000,
    // Not what this process was told to load: it is asked for its version alone.
    env: { NODE_OPTIONS: '' },
  });
  return /^v([0-9]+(?:\.[0-9]+){2})$/.exec(result.stdout?.trim() ?? '')?.[1] ?? null;
}
