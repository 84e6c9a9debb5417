import { expect, it } from 'vitest';
import { Progress } from './run/progress.ts';

it('a task that only the reader of its stream has named is among those that are read at the end', () => {
  const progress = new Progress();
  progress.note({
    type: 'stream',
    at: 1000,
    taskId: 'streamed.01',
    request: 7,
    restart: false,
    connections: 1,
    frames: 0,
    chunks: 0,
    expected: 10,
    status: null,
    fault: null,
  });
  expect([...progress.tasks]).toEqual([['streamed.01', 7]]);
});
