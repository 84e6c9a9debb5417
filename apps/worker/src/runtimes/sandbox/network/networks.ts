import { dirname } from 'node:path';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { isRelayed, type Network, parseAllowed } from '@pilum/core/spec/networks.ts';
import type { Logger } from 'pino';
import type { ContainerNetworks, LeasedNetwork, NetworkHolder, NetworkSums } from '../../contract/instance-network.ts';
import type { Cgroup } from '../cgroup/cgroup.ts';
import { endCgroup } from '../cgroup/end.ts';
import type { UserSlots } from '../user-slots.ts';
import { loopbackRules } from './relay/ruleset.ts';
import type { NetworkRules, RelaySettings } from './relay/wire.ts';
import { stageRelay } from './relay-files.ts';
import { type MadeInRelay, RelayProcess } from './relay-process.ts';
import { type NetworkProbe, probeNetwork } from './relay-programs.ts';
import { stageTools } from './tools.ts';

/** Between two looks at a machine that can make no network, ms. */
const PROBE_INTERVAL_MS = 60_000;
/** The program of the container that holds a network. */
const HOLDER = 'holder.ts';

export interface NetworksDeps {
  readonly stagingDirectory: string;
  readonly nodePath: string;
  /** Uids for instances, one of which the relay has; null where this worker is not root. */
  readonly users: UserSlots | null;
  /** Makes the cgroup of a relay; null where none can be made. */
  readonly cgroup: () => Promise<Cgroup | null>;
  readonly settings: RelaySettings;
  readonly logger: Logger;
}

/** A network that stands ready for one process, and how that process enters it. */
export interface NetworkLease extends LeasedNetwork {
  /** The command that goes before another one for it to have this network, and to be this user where the worker is root. */
  entering(uid: number | null): string[];
}

/** The networks of this machine's sandboxes that are relayed. Nothing of it runs before the first one is asked for. */
export class Networks implements ContainerNetworks {
  readonly #deps: NetworksDeps;
  #probe: NetworkProbe | null = null;
  #probedAtMs = 0;
  #relay: Promise<{ process: RelayProcess; uid: number | null }> | null = null;
  /** Made ahead, since a cold start would wait for it. */
  #spare: Promise<MadeInRelay> | null = null;
  /** Those who hear of the relay's end. */
  readonly #lost = new Set<() => void>();
  /** Resolves when nothing is left of the last relay. */
  #gone: Promise<void> | null = null;
  #isClosed = false;

  constructor(deps: NetworksDeps) {
    this.#deps = deps;
  }

  /** Finds out whether networks can be made here. */
  async probe(): Promise<NetworkProbe> {
    const nowMs = performance.now();
    if (this.#probe !== null && (this.#probe.ok || nowMs - this.#probedAtMs < PROBE_INTERVAL_MS)) return this.#probe;
    const { users } = this.#deps;
    const uid = users?.take() ?? null;
    try {
      this.#probe = await probeNetwork(uid === null ? null : { uid });
      this.#probedAtMs = nowMs;
      return this.#probe;
    } finally {
      if (uid !== null) users?.release(uid);
    }
  }

  /**
   * Returns a network in which everything is closed.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE` where none can be made
   */
  async lease(): Promise<NetworkLease> {
    const { process: relay } = await this.#running();
    // Taken in the same turn: a network is one instance's.
    const spare = this.#spare;
    this.#spare = null;
    const made = await (spare ?? relay.make());
    this.#makeAhead(relay);
    const probe = await this.probe();
    const nsenter = probe.ok ? probe.programs.nsenter : 'nsenter';
    return {
      ...this.#leased(relay, made.id),
      entering: (uid) =>
        uid === null
          ? [nsenter, '--preserve-credentials', `--user=${relay.userNamespace}`, `--net=${made.path}`, '--']
          : [nsenter, `--net=${made.path}`, '--setuid', String(uid), '--setgid', String(uid), '--'],
    };
  }

  #makeAhead(relay: RelayProcess): void {
    if (this.#spare !== null) return;
    const spare = relay.make();
    this.#spare = spare;
    // Whoever asks next has another one made, and hears why there is none.
    spare.catch(() => {
      if (this.#spare === spare) this.#spare = null;
    });
  }

  /** See {@link ContainerNetworks}. */
  async problem(): Promise<string | null> {
    const probe = await this.probe();
    return probe.ok ? null : probe.problem;
  }

  async holder(): Promise<NetworkHolder> {
    const probe = await this.probe();
    if (!probe.ok) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `No network: ${probe.problem}.` });
    const { stagingDirectory } = this.#deps;
    const main = await stageRelay(stagingDirectory);
    return {
      program: { directory: dirname(main), main: HOLDER },
      tools: await stageTools(stagingDirectory, [probe.programs.ip, probe.programs.nft]),
      rulesFor: (network) => loopbackRules(rulesOf(network)),
    };
  }

  async leaseAt(path: string): Promise<LeasedNetwork> {
    const { process: relay } = await this.#running();
    return this.#leased(relay, await relay.listen(path));
  }

  #leased(relay: RelayProcess, id: number): LeasedNetwork {
    let lastUse: NetworkSums | null = null;
    let last: Promise<NetworkSums> | null = null;
    const lost = this.#lost;
    const own: (() => void)[] = [];
    return {
      open: async (network) => relay.open(id, rulesOf(network)),
      use: () => last ?? relay.askUse(id),
      lastUse: () => lastUse ?? relay.lastUse(id),
      onLost: (listener) => {
        lost.add(listener);
        own.push(listener);
      },
      release: () => {
        for (const listener of own.splice(0)) lost.delete(listener);
        last ??= relay.askUse(id).then((use) => {
          lastUse = use;
          relay.drop(id);
          return use;
        });
      },
    };
  }

  /** Ends the relay and waits. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const running = await this.#relay?.catch(() => null);
    await running?.process.close();
    await this.#gone;
  }

  #running(): Promise<{ process: RelayProcess; uid: number | null }> {
    this.#relay ??= this.#start().catch((error: unknown) => {
      this.#relay = null;
      throw error;
    });
    return this.#relay;
  }

  async #start(): Promise<{ process: RelayProcess; uid: number | null }> {
    const probe = await this.probe();
    if (this.#isClosed) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });
    if (!probe.ok) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `No network: ${probe.problem}.` });
    const { stagingDirectory, nodePath, users, settings, logger } = this.#deps;
    const program = await stageRelay(stagingDirectory);
    const cgroup = await this.#deps.cgroup();
    const uid = users?.take() ?? null;
    const process = new RelayProcess({ nodePath, program, programs: probe.programs, settings, uid, logger });
    this.#gone = process.ended.then(async () => {
      if (cgroup !== null) await endCgroup(cgroup).catch(() => undefined); // whoever removes orphans does it then
    });
    void process.ended.then(() => {
      this.#relay = null;
      this.#spare = null;
      if (uid !== null) users?.release(uid);
      for (const listener of this.#lost) listener();
      this.#lost.clear();
    });
    try {
      await cgroup?.add(process.pid);
    } catch (error) {
      await process.close();
      const message = `No network: the cgroup did not take the relay (${error instanceof Error ? error.message : error}).`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
    return { process, uid };
  }
}

/** Returns what the network of a version opens. */
function rulesOf(network: Network): NetworkRules {
  if (!isRelayed(network)) return { isPublicOpen: false, targets: [] };
  if (network === 'egress') return { isPublicOpen: true, targets: [] };
  return { isPublicOpen: false, targets: network.allow.map(parseAllowed) };
}
