import { defineScript } from '../redis/script.ts';

export const RESERVE = defineScript({
  file: new URL('lua/reserve.lua', import.meta.url),
  keys: ['usage', 'uploads'],
  args: ['uploadId', 'bytesMore', 'bytesBefore', 'quotaBytes', 'nowMs', 'expiresAtMs'],
});

export const END_RESERVATION = defineScript({
  file: new URL('lua/end-reservation.lua', import.meta.url),
  keys: ['usage', 'uploads', 'index'],
  args: ['uploadId', 'bytes', 'isKept', 'field'],
});

export const COMMIT = defineScript({
  file: new URL('lua/commit.lua', import.meta.url),
  keys: ['meta', '...uploaded'],
  args: ['uploadId', 'sizeBytes', 'chunks', 'nowMs', 'chunkPrefix'],
});

export const BEGIN_READ = defineScript({
  file: new URL('lua/begin-read.lua', import.meta.url),
  keys: ['meta'],
  args: ['chunkPrefix'],
});

export const REFER = defineScript({
  file: new URL('lua/refer.lua', import.meta.url),
  keys: ['meta', 'references'],
  args: ['artifactId', 'nowMs'],
});

export const UNREFER = defineScript({
  file: new URL('lua/unrefer.lua', import.meta.url),
  keys: ['meta', 'references'],
  args: ['artifactId', 'nowMs'],
});

export const COLLECT = defineScript({
  file: new URL('lua/collect.lua', import.meta.url),
  keys: ['meta', 'references'],
  args: ['beforeMs'],
});
