import { defineScript } from '../redis/script.ts';

export const ADD_VERSION = defineScript({
  file: new URL('lua/add-version.lua', import.meta.url),
  keys: ['artifact', 'versions', 'versionStates', 'contents', 'deployments'],
  args: ['artifactId', 'namespace', 'runtime', 'createdAt', 'contentHash', 'record', 'again'],
});

export const CHANGE_STATE = defineScript({
  file: new URL('lua/change-state.lua', import.meta.url),
  keys: ['versionStates', 'aliases'],
  args: ['version', 'from', 'to'],
});

export const PREPARED = defineScript({
  file: new URL('lua/prepared.lua', import.meta.url),
  keys: ['versions', 'versionStates', 'claim', 'contents', 'deployments'],
  args: ['version', 'claimant', 'record', 'to', 'claimMs', 'contentHash', 'imageId'],
});

export const SET_ALIAS = defineScript({
  file: new URL('lua/set-alias.lua', import.meta.url),
  keys: ['versionStates', 'aliases'],
  args: ['name', 'version'],
});

export const DELETE_ARTIFACT = defineScript({
  file: new URL('lua/delete-artifact.lua', import.meta.url),
  keys: ['artifact', 'versions', 'versionStates', 'contents', 'aliases', 'offers', 'deployments'],
  args: ['recordsForS'],
});
