import { KEYS_CONSTANTS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/** Above so many bytes a message says only what there is, and readers read Redis. */
const MOST_TO_PUBLISH = 512 * 1024;
/** Above so many bytes frames are a message of their own: to put them behind others would be a copy, and Lua's are dear. */
const MOST_TO_JOIN = 4 * 1024;

export const APPEND_OUTPUT = defineScript({
  file: new URL('lua/append-output.lua', import.meta.url),
  keys: ['queue'],
  args: [
    'taskId',
    'token',
    'lifetimeS',
    'channel',
    'sender',
    'framesBefore',
    'framesAfter',
    'frames',
    'bytes',
    'chunks',
    'trimBelow',
    'linesBefore',
    'linesAfter',
    'lines',
    'dropLogs',
    'progress',
    'firstLineAfter',
  ],
  constants: { ...KEYS_CONSTANTS, MOST_TO_JOIN, MOST_TO_PUBLISH },
});
