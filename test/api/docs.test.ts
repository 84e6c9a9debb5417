import { expect, it } from 'vitest';
import { stalePages } from '../../tools/generate-docs.ts';

it('the pages that are made from the code are what the code makes', async () => {
  expect(await stalePages(), 'run: node tools/generate-docs.ts').toEqual([]);
});
