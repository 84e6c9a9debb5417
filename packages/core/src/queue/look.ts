import { defineScript } from '../redis/script.ts';

export const LOOK = defineScript({
  file: new URL('lua/look.lua', import.meta.url),
  keys: ['wait', 'prioritized', 'delayed', 'active', 'artifact'],
  args: [],
});
