import { defineScript } from '../redis/script.ts';

export const SET_SECRET = defineScript({
  file: new URL('lua/set-secret.lua', import.meta.url),
  keys: ['records'],
  args: ['name', 'version', 'record', 'most'],
});

export const REMOVE_SECRET = defineScript({
  file: new URL('lua/remove-secret.lua', import.meta.url),
  keys: ['records', 'users'],
  args: ['name', 'isForced'],
});

export const REFER_SECRETS = defineScript({
  file: new URL('lua/refer-secrets.lua', import.meta.url),
  keys: ['records', '...users'],
  args: ['artifactId', '...names'],
});

export const REWRITE_BOX = defineScript({
  file: new URL('lua/rewrite-box.lua', import.meta.url),
  keys: ['records', 'boxes'],
  args: ['name', 'version', 'record', 'box'],
});
