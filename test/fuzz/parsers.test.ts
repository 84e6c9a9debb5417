import fc from 'fast-check';
import { test } from 'vitest';
import { framesProperty } from './frames.ts';
import { httpAnswerProperty } from './http-answer.ts';

test('whatever a function sends on its channel ends its call and nothing else', async () => {
  await fc.assert(framesProperty, { numRuns: 300 });
}, 60_000);

test('whatever a server answers ends its call and nothing else', async () => {
  await fc.assert(httpAnswerProperty, { numRuns: 100 });
}, 60_000);
