import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandBlock } from './page.ts';

export interface SessionOptions {
  readonly page: string;
  /** Where its commands are typed. */
  readonly directory: string;
  /** A directory for what the session itself keeps. */
  readonly state: string;
  /** Host and port of the API that answers in the place of the one that pages name. */
  readonly api: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** The address that every page uses. */
const WRITTEN = '127.0.0.1:8080';
/** A task as pages name it: its artifact, and the beginning of the rest. */
const NAMED_TASK = /\b([a-z0-9-]+)\.01…/g;

/** A reader who types the commands of one page, one block after the other: variables and the directory stay. */
export class PageSession {
  readonly #options: SessionOptions;
  /** The last task of each artifact, for what a page writes as `hello.01…`. */
  readonly #taskIds = new Map<string, string>();

  constructor(options: SessionOptions) {
    this.#options = options;
    writeFileSync(join(options.state, 'variables'), '');
    writeFileSync(join(options.state, 'directory'), options.directory);
  }

  /**
   * Types a block and compares what it prints with what the page says.
   * @param root where commands of the repository are typed, which leave no variables
   * @throws Error that says where in the page, what was typed, and what was printed
   */
  async type(block: CommandBlock, root?: string): Promise<void> {
    const where = `${this.#options.page}:${block.line}`;
    let printed = '';
    const typed: string[] = [];
    for (const step of stepsOf(block.commands)) {
      typed.push(this.#withTaskIds(step, where));
      const { code, stdout, stderr } = await this.#typeStep(typed.at(-1) ?? '', block, root);
      printed += stdout;
      if (code !== 0)
        throw new Error(`exit code ${code} at ${where}\n${typed.join('')}\nprinted:\n${printed}\n${stderr}`);
    }
    const missed = block.output === null ? null : firstMissed(block.output, printed);
    if (missed === null) return;
    throw new Error(
      `The page says that this is printed:\n${missed}\nat ${where}\n${typed.join('')}\nprinted:\n${printed}`,
    );
  }

  async #typeStep(commands: string, block: CommandBlock, root: string | undefined): Promise<Typed> {
    const { api, state, environment } = this.#options;
    const script = [
      // An answer that is an error is one for the page as well, unless the page shows it.
      block.output?.includes('"error"') ? '' : 'curl() { command curl --fail-with-body "$@"; }',
      'set -a',
      '. "$STATE/variables"',
      root === undefined ? 'cd "$(cat "$STATE/directory")"' : 'cd "$ROOT"',
      'set -euo pipefail',
      commands.replaceAll(WRITTEN, api),
      root === undefined ? 'export -p > "$STATE/variables"; pwd > "$STATE/directory"' : '',
    ].join('\n');
    const env = { ...environment, STATE: state, ROOT: root ?? '' };
    const { code, stdout, stderr } = await runBash(script, env);
    for (const [, taskId = '', artifact = ''] of stdout.matchAll(/"taskId":"(([a-z0-9-]+)\.[0-9A-Z]{20,})"/g)) {
      this.#taskIds.set(artifact, taskId);
    }
    return { code, stdout: stdout.replaceAll(api, WRITTEN), stderr };
  }

  #withTaskIds(commands: string, where: string): string {
    return commands.replaceAll(NAMED_TASK, (written, artifact: string) => {
      const taskId = this.#taskIds.get(artifact);
      if (taskId === undefined && commands.startsWith('#')) return written;
      if (taskId === undefined) throw new Error(`${where}: no task of ${artifact} was named before`);
      return taskId;
    });
  }
}

/** The first line of a page's output that was not printed, in this order, where `…` stands for anything; null where all were. */
export function firstMissed(output: string, printed: string): string | null {
  let rest = printed;
  for (const line of output.split('\n').filter((text) => text.trim() !== '' && text.trim() !== '…')) {
    const parts = line
      .trimEnd()
      .split('…')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const found = new RegExp(parts.join('.*?')).exec(rest);
    if (found === null) return line;
    rest = rest.slice(found.index + found[0].length);
  }
  return null;
}

interface Typed {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Cuts a block before each line that names a task, which the line before may have begun. */
function stepsOf(commands: string): string[] {
  const steps: string[] = [''];
  let isContinued = false;
  for (const line of commands.trimEnd().split('\n')) {
    if (line.includes('.01…') && !isContinued) steps.push('');
    steps.push(`${steps.pop()}${line}\n`);
    isContinued = line.endsWith('\\');
  }
  return steps.filter((step) => step.trim() !== '');
}

function runBash(script: string, env: Record<string, string>): Promise<Typed> {
  const { promise, resolve } = Promise.withResolvers<Typed>();
  execFile('bash', ['-c', script], { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? 'unknown'), stdout, stderr });
  });
  return promise;
}
