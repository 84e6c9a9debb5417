import { dirname, join } from 'node:path';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { layerVariables, type PlacedLayer, pathWith, placeLayers, placeOfLayer } from '../contract/layers.ts';
import type { LayerFiles } from '../contract/runtime.ts';
import { type BubblewrapFeatures, bubblewrapArguments } from './bubblewrap.ts';
import type { LaunchPlan } from './launch.ts';
import type { Machine } from './machine.ts';
import { OVERHEADS, rlimitScript, rlimitsFor } from './rlimits.ts';

/** What is to run in an instance, and who it is. */
export interface Program {
  readonly kind: keyof typeof OVERHEADS;
  /** Beyond what every instance has. */
  readonly env: Readonly<Record<string, string>>;
  /** The command, given where things lie for the instance. */
  readonly command: (places: Places) => readonly string[];
  readonly stdin: 'pipe' | 'ignore';
  readonly channel: boolean;
  /** A descriptor of this process that it has as its fd 6. */
  readonly listener?: number;
}

/** Of a version, what its process depends on. */
export interface Wanted {
  readonly limits: ArtifactSpec['limits'];
  /** On this machine; null where there is no code. */
  readonly codeDirectory: string | null;
  readonly layers: readonly LayerFiles[];
  /** What else of this machine it sees in its sandbox, read-only. */
  readonly alsoSees?: readonly { readonly from: string; readonly to: string }[];
}

/** Where an instance finds things. */
export interface Places {
  readonly node: string;
  readonly bootstrapDirectory: string;
  /** null where the version has no code. */
  readonly codeDirectory: string | null;
  readonly layers: readonly PlacedLayer[];
}

const IN_SANDBOX = { node: '/pilum/bin/node', bootstrapDirectory: '/pilum/bootstrap', codeDirectory: '/code' };
const HOME = '/tmp';

/** The environment that every instance begins with. */
export function baseEnvironment(places: Places): Record<string, string> {
  const path = `${dirname(places.node)}:/usr/local/bin:/usr/bin:/bin`;
  return { PATH: pathWith(places.layers, path), HOME, LANG: 'C.UTF-8', ...layerVariables(places.layers) };
}

export function placesOf(
  machine: Machine,
  { codeDirectory, layers }: Pick<Wanted, 'codeDirectory' | 'layers'>,
  sandbox: { features: BubblewrapFeatures } | null,
): Places {
  const placed = placeLayers(layers, sandbox !== null);
  if (sandbox !== null) {
    return { ...IN_SANDBOX, codeDirectory: codeDirectory === null ? null : IN_SANDBOX.codeDirectory, layers: placed };
  }
  const { node, bootstrapDirectory } = machine.staged;
  return { node, bootstrapDirectory, codeDirectory, layers: placed };
}

/** What {@link LaunchPlan} says but whose it is, from what the version wants and what the machine has. */
export function planLaunch(
  machine: Machine,
  wanted: Wanted,
  program: Program,
  sandbox: { path: string; features: BubblewrapFeatures } | null,
): Omit<LaunchPlan, 'uid' | 'cgroup'> {
  const { limits } = wanted;
  const places = placesOf(machine, wanted, sandbox);
  const workingDirectory = places.codeDirectory ?? HOME;
  const { plain, forLoader } = splitEnvironment({ ...baseEnvironment(places), ...program.env });
  const rlimits = rlimitsFor(limits, OVERHEADS[program.kind], {
    counting: machine.counting,
    memoryCgroup: machine.cgroups?.controllers.has('memory') === true,
  });
  const command = [
    ...['/bin/sh', '-c', rlimitScript(rlimits), 'pilum'],
    ...(forLoader.length === 0 ? [] : ['/usr/bin/env', ...forLoader]),
    ...program.command(places),
  ];
  return {
    scheduler: machine.scheduler,
    command,
    sandbox:
      sandbox === null
        ? null
        : { path: sandbox.path, args: sandboxArguments(machine, wanted, sandbox.features, plain) },
    env: plain,
    workingDirectory,
    stdin: program.stdin,
    channel: program.channel,
    ...(program.listener === undefined ? {} : { listener: program.listener }),
  };
}

function sandboxArguments(
  machine: Machine,
  { limits: { network, diskMiB }, codeDirectory, layers, alsoSees = [] }: Wanted,
  features: BubblewrapFeatures,
  env: Record<string, string>,
): string[] {
  const { staged, python } = machine;
  // With the host's network its own /etc/hosts holds.
  const etc = staged.etc.filter(({ to }) => network === 'none' || to !== '/etc/hosts');
  return bubblewrapArguments({
    layout: machine.layout,
    features,
    readOnly: [
      ...etc,
      { from: staged.node, to: IN_SANDBOX.node },
      { from: staged.bootstrapDirectory, to: IN_SANDBOX.bootstrapDirectory },
      ...(python.ok ? python.directories.map((path) => ({ from: path, to: path })) : []),
      ...(codeDirectory === null ? [] : [{ from: codeDirectory, to: IN_SANDBOX.codeDirectory }]),
      ...layers.map(({ id, directory }) => ({ from: directory, to: placeOfLayer(id) })),
      ...alsoSees,
    ],
    env,
    workingDirectory: codeDirectory === null ? HOME : IN_SANDBOX.codeDirectory,
    network,
    diskMiB,
  });
}

/**
 * Variables that load code into every program that sees them are given to the command only: the shell that sets the
 * rlimits must not run the function's code before it has.
 */
function splitEnvironment(env: Record<string, string>): { plain: Record<string, string>; forLoader: string[] } {
  const plain: Record<string, string> = {};
  const forLoader: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (/^(LD_|GLIBC_TUNABLES$|GCONV_PATH$|BASH_ENV$|ENV$)/.test(name)) forLoader.push(`${name}=${value}`);
    else plain[name] = value;
  }
  return { plain, forLoader };
}

/** A language's bootstrap, which waits for code. */
export function handlerProgram(machine: Machine, language: 'node' | 'python', memoryMiB: number): Program {
  const pythonPath = machine.python.ok ? machine.python.path : '';
  return {
    kind: language,
    env: {},
    command: (places) => interpreterCommand(language, places, { memoryMiB, pythonPath }),
    stdin: 'ignore',
    channel: true,
  };
}

/** What starts an interpreter with its bootstrap, which waits for code. */
export function interpreterCommand(
  language: 'node' | 'python',
  places: Places,
  options: { memoryMiB: number; pythonPath: string },
): string[] {
  if (language === 'python') {
    // -I: nothing from the environment or the user's directories; -B: the code is read-only, so write no bytecode.
    return [options.pythonPath, '-I', '-B', join(places.bootstrapDirectory, 'python.py')];
  }
  return [
    places.node,
    `--max-old-space-size=${heapMiB(options.memoryMiB)}`,
    // A package.json is not asked of a function.
    '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
    join(places.bootstrapDirectory, 'node.mjs'),
  ];
}

/** Below the limit of the whole instance, so that V8 says it is out of memory before the kernel kills. */
function heapMiB(memoryMiB: number): number {
  return Math.floor(Math.max(memoryMiB / 2, memoryMiB - 96));
}
