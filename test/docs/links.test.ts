import { existsSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pages, proseOf, ROOT, textOf } from './page.ts';

/** The links of a page: text in brackets, target in parentheses. */
function linksOf(page: string): { line: number; target: string }[] {
  return proseOf(textOf(page)).flatMap(({ line, text }) =>
    [...text.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({ line, target })),
  );
}

/** The anchors that GitHub makes of the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const headings = proseOf(textOf(page)).flatMap(({ text }) => /^#{1,6} (.*)$/.exec(text)?.[1] ?? []);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('links in the docs', () => {
  it.each([...pages(), 'bench/README.md'])('lead from %s to something that is there', (page) => {
    const broken = linksOf(page)
      .filter(({ target }) => !/^[a-z]+:/.test(target))
      .filter(({ target }) => {
        const [path = '', anchor] = target.split('#');
        const goal = path === '' ? page : normalize(join(dirname(page), path));
        if (!existsSync(join(ROOT, goal))) return true;
        return anchor !== undefined && statSync(join(ROOT, goal)).isFile() && !anchorsOf(goal).has(anchor);
      })
      .map(({ line, target }) => `${page}:${line}: ${target}`);
    expect(broken).toEqual([]);
  });

  it('lead from docs/README.md to every page of the docs', () => {
    const linked = new Set(
      linksOf('docs/README.md').map(({ target }) => normalize(join('docs', target.split('#')[0] ?? ''))),
    );
    const listedElsewhere = /^docs\/(?:README|decisions\/\d.*)\.md$/;
    expect(
      pages().filter((page) => page.startsWith('docs/') && !listedElsewhere.test(page) && !linked.has(page)),
    ).toEqual([]);
  });
});
