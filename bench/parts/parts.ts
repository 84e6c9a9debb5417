import type { Part } from '../support/bench.ts';
import { async } from './async.ts';
import { cold } from './cold.ts';
import { cpu } from './cpu.ts';
import { endpoints } from './endpoints.ts';
import { flood } from './flood.ts';
import { idle } from './idle.ts';
import { network } from './network.ts';
import { oneMegabyte, tenKilobytes } from './payload.ts';
import { saturated } from './saturated.ts';
import { scale } from './scale.ts';
import { slots } from './slots.ts';
import { spike } from './spike.ts';
import { stream } from './stream.ts';
import { streamReaders } from './stream-readers.ts';
import { sync } from './sync.ts';
import { tail } from './tail.ts';
import { takeover } from './takeover.ts';
import { wasm } from './wasm.ts';
import { wasmMany } from './wasm-many.ts';

/** All parts of the bench, in the order in which they are run. */
export const PARTS: readonly Part[] = [
  sync,
  tail,
  cpu,
  async,
  tenKilobytes,
  oneMegabyte,
  cold,
  saturated,
  scale,
  takeover,
  flood,
  spike,
  slots,
  stream,
  streamReaders,
  endpoints,
  network,
  idle,
  wasm,
  wasmMany,
];
