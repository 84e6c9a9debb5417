import { MARKS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { LET_GO_CONSTANTS } from './kept-scripts.ts';
import { FIGURES_FORMAT, FIGURES_PREFIX } from './stats.ts';

/** Weight of the newest task in the running averages of waits and run times. */
const AVERAGE_WEIGHT = 0.1;
/** Everything of a task but its outcome. */
const BESIDE = ['payload', 'result', 'log', 'attempts', 'output', 'frames', 'ticket', 'retriedAs', 'retries'];
/** Tasks over the count that are forgotten together, one command for all of them, where the count is not small. */
const FORGOTTEN_AT_ONCE = 16;
const SMALL_COUNT = 1000;

/** The arguments and constants that settle.lua needs, for each script that includes it. */
export const SETTLE_ARGS = [
  'taskId',
  'outcome',
  'ageS',
  'keptCount',
  'replyTo',
  'status',
  'runMs',
  'queuedMs',
  'payloadBytes',
  'logLines',
  'stagedResult',
  'retryTicket',
  'framesAgeS',
  'isKeyed',
  'mostKeptBytes',
] as const;
export const SETTLE_CONSTANTS = {
  ...LET_GO_CONSTANTS,
  AVERAGE_WEIGHT,
  BESIDE,
  FIGURES_FORMAT,
  FIGURES_PREFIX,
  FORGOTTEN_AT_ONCE,
  MARK_ALONE: MARKS.alone,
  MARK_KEYED: MARKS.keyed,
  MARK_MORE: MARKS.more,
  SMALL_COUNT,
} as const;

export const SETTLE = defineScript({
  file: new URL('lua/settle-alone.lua', import.meta.url),
  keys: ['queue'],
  args: SETTLE_ARGS,
  constants: SETTLE_CONSTANTS,
});

export const RECORD_ATTEMPT = defineScript({
  file: new URL('lua/record-attempt.lua', import.meta.url),
  keys: ['outcome', 'attempts', 'payload', 'lock', 'active', 'log', 'output', 'frames'],
  args: ['recordedBefore', 'attempt', 'lifetimeS', 'token', 'taskId'],
});

export const CLAIM_KEY = defineScript({
  file: new URL('lua/claim-key.lua', import.meta.url),
  keys: ['claim', 'claimed'],
  args: ['value', 'forS', 'idempotencyKey'],
  constants: { FORGOTTEN_AT_ONCE },
});

export const CLAIM = defineScript({
  file: new URL('lua/claim.lua', import.meta.url),
  keys: ['claim'],
  args: ['value', 'forS'],
});

export const CLAIM_FIELD = defineScript({
  file: new URL('lua/claim-field.lua', import.meta.url),
  keys: ['claims'],
  args: ['field', 'value', 'forS'],
});
