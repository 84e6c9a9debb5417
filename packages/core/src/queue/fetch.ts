import { defineScript } from '../redis/script.ts';
import { TAKE_CONSTANTS } from './take.ts';

export const FETCH = defineScript({
  file: new URL('lua/fetch.lua', import.meta.url),
  keys: ['queue'],
  args: ['nowMs', 'token', 'workerId'],
  constants: TAKE_CONSTANTS,
});
