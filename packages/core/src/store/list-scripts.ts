import { defineScript } from '../redis/script.ts';

export const UNLIST = defineScript({
  file: new URL('lua/unlist.lua', import.meta.url),
  keys: ['list'],
  args: ['member', 'listedAtMs'],
});
