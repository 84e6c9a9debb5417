import { randomBytes } from 'node:crypto';
// @needs redis, bubblewrap, python
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from '../support/docker.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { modulesMissing } from '../support/wasm-modules.ts';
import { type CommandBlock, commandsOf, fencesOf, pages, proseOf, ROOT, textOf } from './page.ts';
import { firstMissed, PageSession } from './page-session.ts';

const all = pages().map((page) => ({ page, blocks: commandsOf(textOf(page)) }));
const isRunHere = ({ mark }: CommandBlock) => mark?.kind !== 'not run' && mark?.kind !== 'run by';
const withCommands = all.filter(({ blocks }) => blocks.some(isRunHere));

/** What a block may say that it needs; null where this machine has it. */
const whyMissing: Record<string, string | null> = {
  'a Docker Engine': await whyNoEngine(),
  'clang with wasi-libc': await modulesMissing(),
};

/** What a line of commands begins with. */
const COMMAND =
  /^(?:[A-Z_]+=\S* )*(?:sudo|npm|npx|node|git|curl|docker|docker-compose|tar|zip|pip|python3?|clang|rustc|cargo|go|redis-cli)\s/;

describe('commands in the docs', () => {
  it('all stand in a block that is run, or that says why it is not', () => {
    const stray = all.flatMap(({ page }) => {
      const text = textOf(page);
      const lines = proseOf(text)
        .filter((line) => /^ {4}/.test(line.text) && COMMAND.test(line.text.trim()))
        .map(({ line }) => `${page}:${line}: a command outside of a block that begins with \`\`\`sh`);
      const fences = fencesOf(text)
        .filter(
          ({ language, text: inner }) => language !== 'sh' && inner.split('\n').some((each) => COMMAND.test(each)),
        )
        .map(({ line }) => `${page}:${line}: commands in a block that does not begin with \`\`\`sh`);
      return [...lines, ...fences];
    });
    expect(stray).toEqual([]);
  });

  it('that are run by another test are run by one that reads their page', () => {
    for (const { page, blocks } of all) {
      for (const { mark, line } of blocks) {
        if (mark?.kind !== 'run by') continue;
        expect(existsSync(join(ROOT, mark.test)) && textOf(mark.test), `${page}:${line}`).toContain(page);
      }
    }
  });

  it('need only what this file knows', () => {
    const needs = all.flatMap(({ blocks }) =>
      blocks.flatMap(({ mark }) => (mark?.kind === 'needs' ? [mark.what] : [])),
    );
    expect(Object.keys(whyMissing)).toEqual(expect.arrayContaining(needs));
  });

  it('are compared with what the page says that they print', () => {
    expect(firstMissed('{"a":…}\nend\n', 'x {"a":1}\nthe end')).toBeNull();
    expect(firstMissed('{"a":…}\n', '{"b":1}')).toBe('{"a":…}');
    expect(firstMissed('one\ntwo\n', 'two\none')).toBe('two');
  });
});

describe('typed as they stand,', () => {
  let pilum: TestPilum;
  const kept = keep();
  beforeAll(async () => {
    pilum = kept.add(
      await startPilum({
        appendonly: true,
        env: { PILUM_DEPLOY_CHECK: 'true', PILUM_PREWARM: '2', PILUM_SECRETS_KEY: randomBytes(32).toString('base64') },
      }),
    );
  });

  // One after the other: a page is typed as one person would, and a busy machine is not made busier.
  it.each(withCommands)('the commands of $page work', async ({ page, blocks }) => {
    const own = makeTemporaryDirectory();
    try {
      const [directory, state] = [join(own, 'here'), join(own, 'state')];
      for (const each of [directory, state]) mkdirSync(each);
      if (/^examples\/.*\//.test(page)) {
        // What an example has beside its page.
        cpSync(join(ROOT, dirname(page)), directory, { recursive: true });
      } else {
        // Where `npm run up` has its Redis, for pages that look into it.
        mkdirSync(join(directory, '.pilum'));
        symlinkSync(dirname(pilum.redis.path), join(directory, '.pilum/redis'));
      }
      const environment = { ...environmentOf(process.env), PILUM_REDIS_URL: pilum.redis.url };
      const session = new PageSession({ page, directory, state, api: new URL(pilum.url).host, environment });
      for (const block of blocks.filter(isRunHere)) {
        const { mark } = block;
        if (mark?.kind === 'needs' && whyMissing[mark.what] !== null) continue;
        await session.type(block, mark?.kind === 'in the repository' ? ROOT : undefined);
      }
    } finally {
      rmSync(own, { recursive: true, force: true });
    }
  });
});

/** What a reader's shell would have. The caches of npm and pip are used where they are. */
function environmentOf(environment: NodeJS.ProcessEnv): Record<string, string> {
  const usual = Object.entries(environment).filter(
    ([name, value]) => value !== undefined && !/^(?:PILUM_|VITEST|TEST$|NODE_ENV$|NODE_OPTIONS$|npm_)/.test(name),
  ) as [string, string][];
  return {
    ...Object.fromEntries(usual),
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
  };
}
