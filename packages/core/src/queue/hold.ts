import { defineScript } from '../redis/script.ts';

export const HOLD = defineScript({
  file: new URL('lua/hold.lua', import.meta.url),
  keys: ['active', 'stalled'],
  args: ['jobPrefix', 'lockMs', '...jobs'],
});
