// The process that runs guests: `node main.mjs <wasmtime|v8> <calls at once> <addon>`, in a sandbox, with the worker at
// fd 3. The worker's death, and the end of the channel, is its own.
import { Socket } from 'node:net';
import { FrameReader, parseMeta } from '../../protocols/handler/frames.ts';
import type { Engine, EngineOutcome, StreamName } from './engine.ts';
import { V8Engine } from './v8-engine.ts';
import { loadAddon, WasmtimeEngine } from './wasmtime-engine.ts';
import {
  type CallMessage,
  ENGINE_FRAMES,
  type HelloMessage,
  type PrepareMessage,
  type ResultMessage,
  type WrittenMessage,
  writeFrame,
} from './wire.ts';

const CHANNEL = 3;
/** The worker is trusted, and bounds what it sends; this only keeps a broken stream from being read for ever. */
const MAX_FRAME_BYTES = 0xffff_ffff;

const [, , name, calls, addonPath] = process.argv;
const channel = new Socket({ fd: CHANNEL });
const reader = new FrameReader(() => MAX_FRAME_BYTES);
/** Modules by their entry, which says how they are called. */
const commands = new Set<string>();

const onWrite = (id: number, stream: StreamName, bytes: Uint8Array) =>
  writeFrame(channel, ENGINE_FRAMES.WRITTEN, { id, stream } satisfies WrittenMessage, Buffer.from(bytes));
const engine: Engine =
  name === 'wasmtime'
    ? new WasmtimeEngine(loadAddon(addonPath ?? ''), Number(calls), onWrite)
    : new V8Engine(Number(calls), onWrite);

channel.on('data', (chunk: Buffer) => {
  for (const { type, meta, payload } of reader.push(chunk)) {
    const message = parseMeta({ type, meta, payload }) as unknown;
    if (type === ENGINE_FRAMES.CALL) void call(message as CallMessage, payload);
    else if (type === ENGINE_FRAMES.ABORT) engine.abort((message as { id: number }).id);
    else if (type === ENGINE_FRAMES.GRANT) grant(message as { id: number; bytes: number });
    else if (type === ENGINE_FRAMES.PREPARE) void prepare(message as PrepareMessage);
    else if (type === ENGINE_FRAMES.RELEASE) release((message as { key: string }).key);
    else if (type === ENGINE_FRAMES.PING) writeFrame(channel, ENGINE_FRAMES.PONG, {});
  }
});
channel.on('error', () => process.exit(1));
channel.on('close', () => process.exit(0));

const { version, compatibility } = engine;
writeFrame(channel, ENGINE_FRAMES.HELLO, { engine: engine.name, version, compatibility } satisfies HelloMessage);

async function prepare({ id, key, ...source }: PrepareMessage): Promise<void> {
  try {
    await engine.prepare(key, source);
    if (source.entry.kind === 'command') commands.add(key);
    writeFrame(channel, ENGINE_FRAMES.READY, { id });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    writeFrame(channel, ENGINE_FRAMES.FAILED, { id, message });
  }
}

function grant({ id, bytes }: { id: number; bytes: number }): void {
  engine.grant(id, bytes);
}

function release(key: string): void {
  commands.delete(key);
  engine.release(key);
}

async function call(message: CallMessage, payload: Buffer): Promise<void> {
  const { id, key } = message;
  const whole = { ...message, payload };
  answer(id, await (commands.has(key) ? engine.run(whole) : engine.invoke(whole)));
}

function answer(id: number, outcome: EngineOutcome): void {
  if (outcome.kind !== 'ok') {
    writeFrame(channel, ENGINE_FRAMES.RESULT, { id, ...outcome } satisfies ResultMessage);
    return;
  }
  const { body } = outcome;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  writeFrame(channel, ENGINE_FRAMES.RESULT, { id, kind: 'ok' }, bytes);
}
