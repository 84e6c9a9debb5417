import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { Network } from '@pilum/core/spec/networks.ts';
import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import { requireArguments } from '../contract/checked-texts.ts';
import { NAME_SERVER } from '../contract/instance-network.ts';
import { OVERHEADS } from '../contract/overheads.ts';

const MEBIBYTE = 1024 * 1024;
const HOSTNAME = 'pilum';
/** The option that hides from a function where on the machine its cgroup lies; the library's types do not have it yet. */
const OWN_CGROUP_NAMESPACE = { CgroupnsMode: 'private' } as HostConfig;
/** The Engine's own init, which reaps what a function leaves and passes signals on to it. */
const INIT_PIDS = 2;

/** The paths at which a container finds what it is given. */
export const PLACES = {
  code: '/code',
  bootstrap: '/pilum/bootstrap',
  socketDir: '/pilum/exchange',
  node: '/pilum/node',
  dialer: '/pilum/reach',
  variables: '/pilum/secrets',
  tools: '/pilum/tools',
} as const;

/** The rights over its own network, with IPv6, and the server that it and whoever shares the network ask for names. */
const MAKES_NETWORK = {
  CapAdd: ['NET_ADMIN', 'NET_BIND_SERVICE'],
  Sysctls: { 'net.ipv6.conf.all.disable_ipv6': '0', 'net.ipv6.conf.lo.disable_ipv6': '0' },
  Dns: [NAME_SERVER] as string[],
} as const;

/** The command that is to run in a container, with its files, limits and environment. */
export interface ContainerPlan {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The id of an image that the Engine has. */
  readonly image: string;
  /** uid and gid, `1000:1000`. */
  readonly user: string;
  /** Groups that its processes are in besides. */
  readonly groups?: readonly number[] | undefined;
  readonly kind: keyof typeof OVERHEADS;
  /** The command in the place of the image's own entrypoint and command; null for those. */
  readonly command: readonly string[] | null;
  /** The directory that the command begins in; null for the image's own. */
  readonly workingDirectory: string | null;
  /** Beside the image's own. */
  readonly env: Readonly<Record<string, string>>;
  /** Directories of this machine by where the container finds them, read-only. */
  readonly mounts: Readonly<Record<string, string>>;
  /** The same, for what it may write into. */
  readonly writable?: Readonly<Record<string, string>>;
  /** Empty directories of its own that it may write into, besides /tmp. */
  readonly places?: ArtifactSpec['writable'];
  /** VOLUMEs of its image: each is such a directory too, where nothing else is there. */
  readonly volumes?: readonly string[];
  /** The container whose network it shares; it has one of its own where none is named. */
  readonly networkOf?: string;
  /** Tells whether it makes the network that it has: only a program of ours, in a container of its own. */
  readonly makesNetwork?: boolean;
  readonly limits: ArtifactSpec['limits'];
  /** Tells whether the container's stdin, stdout and stderr go through the Engine. */
  readonly attached: boolean;
  /** The OCI runtime that runs the container; null for the Engine's own choice. */
  readonly ociRuntime: string | null;
  /** Tells whether the Engine limits the buffers of sockets apart from memory; false where it is not said. */
  readonly limitsSockets?: boolean;
}

/** The part of its memory that the sockets of a container may hold in buffers besides, where they are counted apart. */
const SOCKET_SHARE = 0.25;

/** The plan in the words of the Engine: closed in every way that it can close a container, but for what the plan names. */
export function createOptions(plan: ContainerPlan): ContainerCreateOptions {
  const { limits, attached, command } = plan;
  const mounted = new Set([...Object.keys(plan.mounts), ...Object.keys(plan.writable ?? {})]);
  // The Engine's own volumes have no limit.
  const volumes = (plan.volumes ?? []).filter((path) => !mounted.has(path));
  return {
    name: plan.name,
    Image: plan.image,
    Labels: { ...plan.labels },
    // Containers that share a network share its name.
    ...(plan.networkOf === undefined ? { Hostname: HOSTNAME } : {}),
    User: plan.user,
    Env: [...requireArguments(Object.entries(plan.env).map(([name, value]) => `${name}=${value}`))],
    ...(command === null ? {} : { Entrypoint: [...requireArguments(command)], Cmd: [] }),
    ...(plan.workingDirectory === null ? {} : { WorkingDir: plan.workingDirectory }),
    AttachStdin: attached,
    AttachStdout: attached,
    AttachStderr: attached,
    OpenStdin: attached,
    StdinOnce: attached,
    Tty: false,
    // What an image does to look whether it is well would be processes that nobody has asked for.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Init: true,
      // `none` still has a loopback of its own.
      NetworkMode: plan.networkOf === undefined ? modeOf(limits.network) : `container:${plan.networkOf}`,
      IpcMode: 'private',
      ReadonlyRootfs: true,
      ...(plan.groups === undefined ? {} : { GroupAdd: plan.groups.map(String) }),
      CapDrop: ['ALL'],
      ...(plan.makesNetwork === true ? MAKES_NETWORK : {}),
      SecurityOpt: ['no-new-privileges'],
      Memory: limits.memoryMiB * MEBIBYTE,
      // Both together: as much as memory alone, so that nothing is swapped out.
      MemorySwap: limits.memoryMiB * MEBIBYTE,
      ...(plan.limitsSockets === true
        ? { KernelMemoryTCP: Math.ceil(limits.memoryMiB * SOCKET_SHARE) * MEBIBYTE }
        : {}),
      NanoCpus: Math.round(limits.cpu * 1e9),
      PidsLimit: limits.pids + OVERHEADS[plan.kind].pids + INIT_PIDS,
      Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
      Tmpfs: {
        ...Object.fromEntries(volumes.map((path) => [path, tmpfs(plan.user, limits.diskMiB)])),
        '/tmp': tmpfs(plan.user, limits.diskMiB),
        ...Object.fromEntries((plan.places ?? []).map(({ path, sizeMiB }) => [path, tmpfs(plan.user, sizeMiB)])),
      },
      ShmSize: limits.diskMiB * MEBIBYTE,
      // The Engine keeps no copy of what is printed: a flood would fill its disk.
      LogConfig: { Type: 'none', Config: {} },
      ...OWN_CGROUP_NAMESPACE,
      RestartPolicy: { Name: 'no' },
      Mounts: [
        ...Object.entries(plan.mounts).map(([target, source]) => mount(source, target, true)),
        ...Object.entries(plan.writable ?? {}).map(([target, source]) => mount(source, target, false)),
      ],
      ...(plan.ociRuntime === null ? {} : { Runtime: plan.ociRuntime }),
    },
  };
}

/** The Engine's name of a network; a relayed one is closed until the relay opens it. */
const modeOf = (network: Network) => (network === 'host' ? 'host' : 'none');

/** Belongs to the user: where the image has a directory there, runc gives it the mode of that one, whatever is asked for. */
function tmpfs(user: string, sizeMiB: number): string {
  const [uid, gid] = user.split(':');
  return `rw,exec,nosuid,nodev,size=${sizeMiB * MEBIBYTE},mode=1777,uid=${uid},gid=${gid}`;
}

const mount = (source: string, target: string, isReadOnly: boolean): MountSettings => ({
  Type: 'bind',
  Source: source,
  Target: target,
  ReadOnly: isReadOnly,
  BindOptions: { Propagation: 'rprivate' },
});
