import { CHANNEL_WORK, HAND_OVER_PREFIX, KEYS_CONSTANTS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { DELAYED_SCORE_PER_MS, PRIORITY_SCORE } from './bull-format.ts';
import { LOCK_DURATION_MS } from './lock-times.ts';

export const ACCEPT = defineScript({
  file: new URL('lua/accept.lua', import.meta.url),
  keys: ['queue'],
  args: [
    'taskId',
    'ticket',
    'options',
    'acceptedAtMs',
    'dueAtMs',
    'payloadBytes',
    'mostWaiting',
    'mostBytes',
    'refuseAfterMs',
    'stagedForS',
    'priority',
  ],
  constants: {
    ...KEYS_CONSTANTS,
    CHANNEL_WORK,
    DELAYED_SCORE_PER_MS,
    HAND_OVER_PREFIX,
    LOCK_DURATION_MS,
    PRIORITY_SCORE,
  },
});

export const OVERDUE = defineScript({
  file: new URL('lua/overdue.lua', import.meta.url),
  keys: ['queue'],
  args: ['nowMs', 'from', 'count'],
  constants: { ...KEYS_CONSTANTS, DELAYED_SCORE_PER_MS },
});

export const RENEW_DEADLINE = defineScript({
  file: new URL('lua/renew-deadline.lua', import.meta.url),
  keys: ['job'],
  args: ['nowMs'],
});

export const REWRITE_TICKET = defineScript({
  file: new URL('lua/rewrite-ticket.lua', import.meta.url),
  keys: ['job'],
  args: ['token', 'ticket'],
});
