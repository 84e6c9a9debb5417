import { dirname } from 'node:path';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { SECRETS_DIRECTORY } from '@pilum/core/schemas/secret.ts';
import { isReadByShells } from '@pilum/core/spec/early-variables.ts';
import { isRelayed, type Network } from '@pilum/core/spec/networks.ts';
import { requireArguments } from '../contract/checked-texts.ts';
import { SHELL_NAME } from '../contract/instance-end.ts';
import type { SecretFile } from '../contract/instance-secrets.ts';
import { layerVariables, pathWith, placeLayers, placeOfLayer } from '../contract/layers.ts';
import { OVERHEADS } from '../contract/overheads.ts';
import type { Places, Program } from '../contract/program.ts';
import type { LayerFiles } from '../contract/runtime.ts';
import { type BubblewrapFeatures, bubblewrapArguments } from './bubblewrap.ts';
import { FILTER_FD, FIRST_SECRET_FD, type LaunchPlan } from './launch.ts';
import type { Machine } from './machine.ts';
import { rlimitScript, rlimitsFor } from './rlimits.ts';

/** The properties of a launch that are of one instance alone, and of no version. */
export type Own = 'uid' | 'cgroup' | 'freezes' | 'entering';

/** The properties of a version that its process depends on. */
export interface Wanted {
  readonly limits: ArtifactSpec['limits'];
  /** The directory of the code on this machine; null where there is no code. */
  readonly codeDirectory: string | null;
  readonly layers: readonly LayerFiles[];
  /** The interpreter that it asks for, which has been placed; the default ones where it asks for none. */
  readonly interpreter?: ArtifactSpec['interpreter'];
  /** Empty directories that it may write into, in its sandbox. */
  readonly writable?: ArtifactSpec['writable'];
  /** Secrets that it finds in files, in its sandbox. */
  readonly secretFiles?: readonly SecretFile[];
  /** Network that is open from its start where it is relayed; closed where this is left out. */
  readonly opens?: Network;
  /** The other parts of this machine that the process sees in its sandbox, read-only. */
  readonly alsoSees?: readonly { readonly from: string; readonly to: string }[];
}

const IN_SANDBOX = { node: '/pilum/bin/node', bootstrapDirectory: '/pilum/bootstrap', codeDirectory: '/code' };
/** The directory in a sandbox with the interpreter that a version asks for, under the names that programs look for. */
const INTERPRETER_IN_SANDBOX = '/pilum/interpreter';
const HOME = '/tmp';

/** The environment that every instance begins with. */
export function baseEnvironment(places: Places): Record<string, string> {
  const own = places.interpreters === undefined ? '' : `${places.interpreters}:`;
  const path = `${own}${dirname(places.node)}:/usr/local/bin:/usr/bin:/bin`;
  return { PATH: pathWith(places.layers, path), HOME, LANG: 'C.UTF-8', ...layerVariables(places.layers) };
}

export function placesOf(
  machine: Machine,
  { codeDirectory, layers, interpreter }: Pick<Wanted, 'codeDirectory' | 'layers' | 'interpreter'>,
  sandbox: { features: BubblewrapFeatures } | null,
): Places {
  const placed = placeLayers(layers, sandbox !== null);
  const { node, python, bin } = interpretersFor(machine, interpreter);
  if (sandbox !== null) {
    const inSandbox = { ...IN_SANDBOX, codeDirectory: codeDirectory === null ? null : IN_SANDBOX.codeDirectory };
    const own = bin === null ? {} : { interpreters: INTERPRETER_IN_SANDBOX };
    return { ...inSandbox, python, layers: placed, environment: {}, ...own };
  }
  const bootstrapDirectory = machine.staged.bootstrapDirectory ?? '';
  const own = bin === null ? {} : { interpreters: bin };
  return { node, python, bootstrapDirectory, codeDirectory, layers: placed, environment: {}, ...own };
}

/** Returns the paths of the interpreters for a version, and what of this machine its sandbox has to see for them. */
function interpretersFor({ staged, python, interpreters }: Machine, name: string | undefined) {
  const usual = {
    node: staged.node,
    python: python.ok ? python.path : '',
    directories: python.ok ? python.directories.map((path) => ({ from: path, to: path })) : [],
    bin: null,
  };
  if (name === undefined) return usual;
  const { language, path, directories, bin } = interpreters.placed(name);
  if (language === 'python') return { ...usual, python: path, directories, bin };
  return { ...usual, node: path, bin };
}

/**
 * Makes a {@link LaunchPlan}, but for whose it is, from what the version wants and what the machine has.
 * @throws InstanceError `INSTANCE_START_FAILED` for a text that cannot be one argument or one variable
 */
export function planLaunch(
  machine: Machine,
  wanted: Wanted,
  program: Program,
  sandbox: { path: string; features: BubblewrapFeatures; filter: string | null } | null,
): Omit<LaunchPlan, Own> {
  const { limits } = wanted;
  const places = placesOf(machine, wanted, sandbox);
  const workingDirectory = places.codeDirectory ?? HOME;
  const { plain, forLoader } = splitEnvironment({ ...baseEnvironment(places), ...program.env });
  const rlimits = rlimitsFor(limits, OVERHEADS[program.kind], {
    counting: machine.counting,
    memoryCgroup: machine.cgroups?.controllers.has('memory') === true,
  });
  const become = (script: string) => ['/bin/sh', '-c', script, SHELL_NAME];
  const command = [
    ...become(rlimitScript(rlimits)),
    // A shell again, and not `env` itself, has to say where there is no such command.
    ...(forLoader.length === 0 ? [] : ['/usr/bin/env', ...forLoader, ...become('exec "$@"')]),
    ...(program.command(places) ?? []),
  ];
  requireArguments([...command, ...Object.entries(plain).flat()]);
  return {
    isRelayed: isRelayed(limits.network),
    scheduler: machine.scheduler,
    command,
    sandbox: sandbox === null ? null : sandboxPlan(machine, wanted, sandbox, plain),
    env: plain,
    workingDirectory,
    stdin: program.stdin,
    channel: program.channel,
    ...(program.listener === undefined ? {} : { listener: program.listener }),
  };
}

function sandboxPlan(
  machine: Machine,
  wanted: Wanted,
  { path, features, filter }: { path: string; features: BubblewrapFeatures; filter: string | null },
  env: Record<string, string>,
): LaunchPlan['sandbox'] {
  const args = sandboxArguments(machine, wanted, features, env);
  const secretFiles = wanted.secretFiles?.map(({ content }) => content) ?? [];
  return { path, filter, secretFiles, args: filter === null ? args : ['--seccomp', String(FILTER_FD), ...args] };
}

function sandboxArguments(
  machine: Machine,
  {
    limits: { network, diskMiB },
    codeDirectory,
    layers,
    interpreter,
    writable = [],
    secretFiles = [],
    alsoSees = [],
  }: Wanted,
  features: BubblewrapFeatures,
  env: Record<string, string>,
): string[] {
  const { staged } = machine;
  const { node, directories, bin } = interpretersFor(machine, interpreter);
  // With the host's network its own /etc/hosts and resolver hold.
  const isOurs = network !== 'host';
  const etc = staged.etc.filter(({ to }) => isOurs || (to !== '/etc/hosts' && to !== '/etc/resolv.conf'));
  return bubblewrapArguments({
    layout: machine.layout,
    features,
    readOnly: [
      ...etc,
      { from: node, to: IN_SANDBOX.node },
      ...(staged.bootstrapDirectory === null
        ? []
        : [{ from: staged.bootstrapDirectory, to: IN_SANDBOX.bootstrapDirectory }]),
      ...directories,
      ...(bin === null ? [] : [{ from: bin, to: INTERPRETER_IN_SANDBOX }]),
      ...(codeDirectory === null ? [] : [{ from: codeDirectory, to: IN_SANDBOX.codeDirectory }]),
      ...layers.map(({ id, directory }) => ({ from: directory, to: placeOfLayer(id) })),
      ...alsoSees,
    ],
    writable,
    files: secretFiles.map(({ name }, i) => ({ path: `${SECRETS_DIRECTORY}/${name}`, fd: FIRST_SECRET_FD + i })),
    env,
    workingDirectory: codeDirectory === null ? HOME : IN_SANDBOX.codeDirectory,
    network: isRelayed(network) ? 'joined' : network,
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
    if (isReadByShells(name)) forLoader.push(`${name}=${value}`);
    else plain[name] = value;
  }
  return { plain, forLoader };
}
