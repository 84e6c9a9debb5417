import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** The machine and the tree of a run. */
export interface Circumstances {
  /** ISO 8601 */
  readonly at: string;
  /** With `(changed)` where the files were not as committed; `unknown` outside of a repository. */
  readonly commit: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly kernel: string;
  };
  readonly versions: Readonly<Record<'node' | 'redis' | 'bullmq' | 'fastify' | 'undici', string>>;
}

export function readCircumstances(): Circumstances {
  return {
    at: new Date().toISOString(),
    commit: readCommit(),
    machine: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 1024 ** 3),
      kernel: release(),
    },
    versions: {
      node: process.versions.node,
      redis: /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
      bullmq: versionOf('bullmq'),
      fastify: versionOf('fastify'),
      undici: versionOf('undici'),
    },
  };
}

function readCommit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    // What the bench itself writes is no change to what is measured.
    const changes = git('status', '--porcelain', '--', ':/', ':!/bench/results', ':!/bench/README.md');
    return git('rev-parse', 'HEAD') + (changes === '' ? '' : ' (changed)');
  } catch {
    return 'unknown';
  }
}

function versionOf(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
