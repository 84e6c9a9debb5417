// The process that compiles: `node compile-main.mjs <addon>`, in a sandbox, with the worker at fd 3. The process compiles
// one module after the other; whoever finds that one takes too long kills it.
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { FrameReader, parseMeta } from '../../protocols/handler/frames.ts';
import { loadAddon } from './wasmtime-engine.ts';
import { ENGINE_FRAMES, writeFrame } from './wire.ts';

const CHANNEL = 3;
const MAX_FRAME_BYTES = 64 * 1024;

const addon = loadAddon(process.argv[2] ?? '');
const channel = new Socket({ fd: CHANNEL });
const reader = new FrameReader((type) => (type === ENGINE_FRAMES.PREPARE ? MAX_FRAME_BYTES : 0));

channel.on('data', (chunk: Buffer) => {
  for (const frame of reader.push(chunk)) {
    const { id, path } = parseMeta(frame) as { id: number; path: string };
    try {
      const compiled = addon.compile(readFileSync(path));
      writeFrame(channel, ENGINE_FRAMES.RESULT, { id, kind: 'ok' }, compiled);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      writeFrame(channel, ENGINE_FRAMES.FAILED, { id, message });
    }
  }
});
channel.on('error', () => process.exit(1));
channel.on('close', () => process.exit(0));
