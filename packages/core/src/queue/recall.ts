import { KEYS_CONSTANTS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

export const RECALL = defineScript({
  file: new URL('lua/recall.lua', import.meta.url),
  keys: ['queue'],
  args: ['...tokens'],
  constants: KEYS_CONSTANTS,
});
