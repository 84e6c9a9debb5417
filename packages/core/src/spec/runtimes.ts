import type { CodeForm, Honoured, RuntimeField } from './fields.ts';
import { type Protocol, protocolRow } from './protocols.ts';

export interface RuntimeRow {
  /** Whether this release has it; what is agreed and not built is answered with 501. */
  readonly isBuilt: boolean;
  readonly protocols: readonly Protocol[];
  /** The protocol where a spec names none: of code, and of a command or an image alone. */
  readonly defaultProtocol: { readonly code: Protocol; readonly command: Protocol };
  /** Whether instances are made from an image, which a worker has to have found before a version is ready. */
  readonly needsImage: boolean;
  /** The forms of code that it runs. */
  readonly codeFrom: Readonly<Record<CodeForm, Honoured>>;
  /** Whether it honours each of these fields. */
  readonly fields: Readonly<Record<RuntimeField, Honoured>>;
  /** The most that `limits.memoryMiB` may be; null for what the schema allows. */
  readonly mostMemoryMiB: number | null;
}

const ALL_FORMS = { inline: true, file: true, tar: true, zip: true, image: true } as const;
const NO_CHECK = 'a version of another runtime than process is not started before it is ready';

const CONTAINERS = {
  defaultProtocol: { code: 'handler', command: 'stdio' },
  needsImage: true,
  codeFrom: ALL_FORMS,
  fields: {
    interpreter: 'an image has its own interpreter: name one in code.image, such as python:3.12-slim',
    env: true,
    secrets: true,
    dependsOn: true,
    writable: true,
    'limits.memoryMiB': true,
    'limits.cpu': true,
    'limits.pids': true,
    'limits.diskMiB': true,
    'limits.outputMiB': true,
    'limits.network': true,
    'limits.diskReadMiBps': 'what containers read is not limited',
    'pool.background': true,
    check: NO_CHECK,
  },
  mostMemoryMiB: null,
} as const;

/** The runtimes: one row each. */
export const RUNTIMES = {
  process: {
    isBuilt: true,
    protocols: ['handler', 'stdio', 'http', 'lambda'],
    defaultProtocol: { code: 'handler', command: 'stdio' },
    needsImage: false,
    codeFrom: { ...ALL_FORMS, image: 'its instances are not made from images' },
    fields: { ...CONTAINERS.fields, interpreter: true, 'limits.diskReadMiBps': true, check: true },
    mostMemoryMiB: null,
  },
  docker: { ...CONTAINERS, isBuilt: true, protocols: ['handler', 'stdio', 'http', 'lambda'] },
  wasm: {
    isBuilt: true,
    protocols: ['wasi'],
    defaultProtocol: { code: 'wasi', command: 'wasi' },
    needsImage: false,
    codeFrom: {
      inline: 'a module is binary: upload it with PUT /v1/blobs/sha256:… and give its digest',
      file: true,
      tar: 'a module is one file',
      zip: 'a module is one file',
      image: 'a module is no image',
    },
    fields: {
      interpreter: 'a module is run by an engine',
      env: true,
      secrets: true,
      dependsOn: true,
      writable: 'a module has nothing that it can write to',
      'limits.memoryMiB': true,
      'limits.cpu': true,
      'limits.pids': 'a module starts no processes and no threads',
      'limits.diskMiB': 'a module has nothing that it can write to',
      'limits.outputMiB': true,
      'limits.network': 'a module has no network',
      'limits.diskReadMiBps': 'a module reads nothing but its layers',
      'pool.background': 'nothing of a module runs between its calls',
      check: 'a module is checked in any case',
    },
    // What a 32-bit memory can be.
    mostMemoryMiB: 4096,
  },
  kubernetes: { ...CONTAINERS, isBuilt: false, protocols: ['handler', 'stdio', 'http', 'lambda'] },
} as const satisfies Readonly<Record<string, RuntimeRow>>;

export type RuntimeKind = keyof typeof RUNTIMES;
export const RUNTIME_KINDS = Object.keys(RUNTIMES) as RuntimeKind[];

/** Values of the field `runtime`: the runtime of a function, or `layer`, a kind of artifact that holds files and runs nothing. */
export type ArtifactRuntime = RuntimeKind | 'layer';
export const ARTIFACT_RUNTIMES: readonly ArtifactRuntime[] = [...RUNTIME_KINDS, 'layer'];

/** The forms of code that the files of a layer may come in. */
export const LAYER_CODE: Readonly<Record<CodeForm, Honoured>> = { ...ALL_FORMS, image: 'a layer holds files' };

/** Whether an artifact is a layer and not a function. */
export function isLayer(runtime: ArtifactRuntime): runtime is 'layer' {
  return runtime === 'layer';
}

/** The row of a runtime, as any of them. */
export const runtimeRow = (kind: RuntimeKind): RuntimeRow => RUNTIMES[kind];

/** Whether a worker has to have found an image before a version is ready. */
export function needsImage(runtime: ArtifactRuntime): boolean {
  return !isLayer(runtime) && runtimeRow(runtime).needsImage;
}

/** The protocols of a runtime that this release has. */
export function builtProtocols(kind: RuntimeKind): Protocol[] {
  return runtimeRow(kind).protocols.filter((protocol) => protocolRow(protocol).isBuilt);
}
