import { KEYS_CONSTANTS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { SETTLED_STATUSES } from '../states/states.ts';

/** Every key of a task. */
const TASK_KEYS = [
  'outcome',
  'payload',
  'result',
  'log',
  'attempts',
  'output',
  'frames',
  'ticket',
  'retriedAs',
  'retries',
  'losses',
  'waiters',
];

export const PURGE = defineScript({
  file: new URL('lua/purge.lua', import.meta.url),
  keys: ['queue'],
  args: ['before', 'count', 'endedAfterMs'],
  constants: { ...KEYS_CONSTANTS, SETTLED_STATUSES, TASK_KEYS },
});

export const FORGET = defineScript({
  file: new URL('lua/forget.lua', import.meta.url),
  keys: ['queue'],
  args: [],
  constants: KEYS_CONSTANTS,
});

export const END_PURGE = defineScript({
  file: new URL('lua/end-purge.lua', import.meta.url),
  keys: ['artifact'],
  args: ['deletedAtMs'],
});
