import type { Redis } from 'ioredis';
import { ArtifactError, type ErrorData } from '../errors/pilum-error.ts';
import {
  ARTIFACT_INDEX,
  artifactKeys,
  CHANNEL_CHANGED,
  parseQualifiedId,
  qualifiedId,
  queueKeysOf,
} from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import {
  type Artifact,
  ArtifactSettings,
  DEFAULT_MAX_BACKLOG,
  DEFAULT_MAX_BACKLOG_MIB,
  DEFAULT_WEIGHT,
  type PinnedImage,
  Version,
} from '../schemas/artifact.ts';
import { matches, readRecord, recordProblems } from '../schemas/check.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { type ArtifactRuntime, isLayer } from '../spec/runtimes.ts';
import { VERSION_TRANSITIONS, type VersionState } from '../states/states.ts';
import { transition } from '../states/transition-table.ts';
import { ArtifactLists } from './artifact-list.ts';
import { ADD_VERSION, CHANGE_STATE, DELETE_ARTIFACT, PREPARED, SET_ALIAS } from './artifact-scripts.ts';
import { END_PURGE, FORGET } from './purge-scripts.ts';
import { requireKnown, type StoredVersion, UnknownVersion } from './unknown-record.ts';

/** A version as it is stored: its state lives beside it, because it alone changes. */
type VersionRecord = Omit<Version, 'state'>;

/** Time that the records of a deleted artifact stay, s: outcomes that name its versions live no longer. */
const DELETED_RETENTION_S = 7 * 24 * 3600;

/** Time that a worker that makes a version ready is believed to live without another sign, ms. */
const CLAIM_MS = 10_000;

/** The contents of a version before it has a number. */
export interface NewVersion {
  readonly contentHash: string;
  readonly spec: Version['spec'];
  readonly code: Version['code'];
  /** Left out where there are none. */
  readonly layers?: Version['layers'];
  /** Preparation that it waits for before it is ready; left out where no worker has to do anything for that. */
  readonly preparation?: Version['preparation'];
}

/** An alias as it is stored; null where it points at something else than one version, as those of a newer release may. */
export interface StoredAlias {
  readonly name: string;
  readonly version: number | null;
}

/** Artifacts, their immutable versions, aliases and settings. */
export class ArtifactStore {
  readonly #redis: Redis;
  readonly #lists: ArtifactLists;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#lists = new ArtifactLists(redis);
  }

  /**
   * Adds a version in state `creating`, or finds the one with the same content; that is the one deployed last from now on.
   * @param again whether a name in the content may have come to mean something else since that one was made
   * @throws ArtifactError `RUNTIME_IS_FIXED`
   */
  async addVersion(ref: ArtifactRef, content: NewVersion, again = false): Promise<{ version: number; isNew: boolean }> {
    const { namespace, artifactId } = ref;
    const keys = artifactKeys(ref);
    const createdAt = new Date(sharedNow()).toISOString();
    const record: VersionRecord = {
      artifactId,
      version: 0,
      contentHash: content.contentHash,
      createdAt,
      code: content.code,
      ...(content.layers === undefined ? {} : { layers: content.layers }),
      spec: content.spec,
      ...(content.preparation === undefined ? {} : { preparation: content.preparation }),
    };
    // Known to the index first: a version that no one lists would be worse than an index entry without one.
    await Promise.all([this.#redis.zadd(ARTIFACT_INDEX, 0, qualifiedId(ref)), this.#lists.watched.put(ref)]);
    const [kind, value] = (await ADD_VERSION.run(this.#redis, {
      artifact: keys.artifact,
      versions: keys.versions,
      versionStates: keys.versionStates,
      contents: keys.contents,
      deployments: keys.deployments,
      artifactId,
      namespace,
      runtime: content.spec.runtime,
      createdAt,
      contentHash: content.contentHash,
      record: JSON.stringify(record),
      again: again ? '1' : '',
    })) as [number, number | string];
    if (kind === 0) {
      throw new ArtifactError('RUNTIME_IS_FIXED', {
        message: `Artifact ${artifactId} has the runtime ${value}; a version cannot have ${content.spec.runtime}.`,
        details: { artifactId, runtime: value, requested: content.spec.runtime },
      });
    }
    // A new one is announced when it is ready; an earlier one may be what a bare id means from this moment.
    if (kind === 2) await this.#announceChange(ref);
    return { version: Number(value), isNew: kind === 1 };
  }

  /**
   * Takes a version from one state to another.
   * @throws ArtifactError `VERSION_IN_USE` where an alias points at it, `VERSION_NOT_FOUND`;
   *   IllegalTransition where the table does not allow it.
   */
  async changeState(ref: ArtifactRef, version: number, to: VersionState): Promise<void> {
    const { artifactId } = ref;
    const keys = artifactKeys(ref);
    for (;;) {
      const from = (await this.#redis.hget(keys.versionStates, String(version))) as VersionState | null;
      if (from === null) throw versionNotFound(artifactId, version);
      if (from === to) return;
      transition('A version', VERSION_TRANSITIONS, from, to);
      const done = await CHANGE_STATE.run(this.#redis, {
        versionStates: keys.versionStates,
        aliases: keys.aliases,
        version,
        from,
        to,
      });
      if (done === -1) {
        throw new ArtifactError('VERSION_IN_USE', {
          hint: 'Point the alias at another version first.',
          details: { artifactId, version },
        });
      }
      if (done === 1) break;
    }
    await this.#announceChange(ref);
  }

  /** The artifact, or null where there is none or it was deleted. */
  async artifact(ref: ArtifactRef): Promise<Artifact | null> {
    const { namespace } = ref;
    const hash = await this.#redis.hgetall(artifactKeys(ref).artifact);
    if (hash.id === undefined || hash.deleted !== undefined) return null;
    return {
      id: hash.id,
      namespace,
      runtime: hash.runtime as ArtifactRuntime,
      createdAt: hash.createdAt ?? '',
      latestVersion: Number(hash.latestVersion ?? 0),
      settings: readSettings(hash.settings),
    };
  }

  /** Returns those of some artifacts that can be called: they are there and are no layers. */
  async callable<A extends ArtifactRef>(ids: readonly A[]): Promise<A[]> {
    const found = await Promise.all(
      ids.map(async (artifact) => {
        const key = artifactKeys(artifact).artifact;
        const [runtime, deleted] = await this.#redis.hmget(key, 'runtime', 'deleted');
        return typeof runtime === 'string' && !isLayer(runtime as ArtifactRuntime) && typeof deleted !== 'string';
      }),
    );
    return ids.filter((_, index) => found[index]);
  }

  /**
   * One version in whatever state, also of a deleted artifact while its records last; null where there is none.
   * @throws SystemError `RELEASE_TOO_OLD`
   */
  async version(ref: ArtifactRef, version: number): Promise<Version | null> {
    const stored = await this.storedVersion(ref, version);
    return stored && requireKnown(stored);
  }

  /** Reads a version as {@link version} does, and one that this release cannot run as well. */
  async storedVersion(ref: ArtifactRef, version: number): Promise<StoredVersion | null> {
    const { artifactId } = ref;
    const keys = artifactKeys(ref);
    const [record, state] = await Promise.all([
      this.#redis.hget(keys.versions, String(version)),
      this.#redis.hget(keys.versionStates, String(version)),
    ]);
    return record === null || state === null ? null : parseVersion(record, { artifactId, version, state });
  }

  /**
   * The version that has this content; null where there is none.
   * @throws SystemError `RELEASE_TOO_OLD`
   */
  async versionOfContent(ref: ArtifactRef, contentHash: string): Promise<Version | null> {
    const number = await this.#redis.hget(artifactKeys(ref).contents, contentHash);
    return number === null ? null : await this.version(ref, Number(number));
  }

  /** All versions, newest first, with those that this release cannot run. */
  async versions(ref: ArtifactRef): Promise<StoredVersion[]> {
    const { artifactId } = ref;
    const keys = artifactKeys(ref);
    const [records, states] = await Promise.all([
      this.#redis.hgetall(keys.versions),
      this.#redis.hgetall(keys.versionStates),
    ]);
    return Object.entries(records)
      .map(([number, record]) =>
        parseVersion(record, { artifactId, version: Number(number), state: states[number] ?? 'failed' }),
      )
      .sort((a, b) => b.version - a.version);
  }

  /** Version numbers by when they were last deployed, the latest first. Those of releases that kept no such order are missing. */
  async deployments(ref: ArtifactRef): Promise<number[]> {
    const numbers = await this.#redis.zrevrange(artifactKeys(ref).deployments, 0, -1);
    return numbers.map(Number);
  }

  /** All aliases by name, with those that point at something else than one version. */
  async aliases(ref: ArtifactRef): Promise<StoredAlias[]> {
    const hash = await this.#redis.hgetall(artifactKeys(ref).aliases);
    return Object.entries(hash)
      .map(([name, version]) => ({ name, version: /^[1-9][0-9]*$/.test(version) ? Number(version) : null }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws ArtifactError `VERSION_NOT_FOUND`, or `ARTIFACT_NOT_READY` where the version is not ready. */
  async setAlias(ref: ArtifactRef, name: string, version: number): Promise<void> {
    const { artifactId } = ref;
    const keys = artifactKeys(ref);
    const state = await SET_ALIAS.run(this.#redis, {
      versionStates: keys.versionStates,
      aliases: keys.aliases,
      name,
      version,
    });
    if (typeof state !== 'string') throw versionNotFound(artifactId, version);
    if (state !== 'ready') {
      throw new ArtifactError('ARTIFACT_NOT_READY', {
        message: `Version ${version} of ${artifactId} is ${state}; an alias needs a version that is ready.`,
        details: { artifactId, version, state },
      });
    }
    await this.#announceChange(ref);
  }

  /** @returns false where there was no such alias. */
  async deleteAlias(ref: ArtifactRef, name: string): Promise<boolean> {
    const removed = await this.#redis.hdel(artifactKeys(ref).aliases, name);
    await this.#announceChange(ref);
    return removed === 1;
  }

  /** Changes the settings that are given; the others stay as they are, those of newer releases among them. */
  async changeSettings(ref: ArtifactRef, changes: Partial<ArtifactSettings>): Promise<void> {
    const { artifact } = artifactKeys(ref);
    const before = parseObject(await this.#redis.hget(artifact, 'settings'));
    await this.#redis.hset(artifact, 'settings', JSON.stringify({ ...before, ...changes }));
    await this.#announceChange(ref);
  }

  /**
   * Marks an artifact and its versions as deleted. Its number sequence stays, and it is listed for the housekeeper until {@link forget}.
   * @returns when that was, ms of Redis's clock: tasks accepted later belong to a new artifact of the same id; null where there is none
   */
  async delete(ref: ArtifactRef): Promise<number | null> {
    const keys = artifactKeys(ref);
    await this.#lists.active.put(ref);
    const done = await DELETE_ARTIFACT.run(this.#redis, {
      artifact: keys.artifact,
      versions: keys.versions,
      versionStates: keys.versionStates,
      contents: keys.contents,
      aliases: keys.aliases,
      offers: keys.offers,
      deployments: keys.deployments,
      recordsForS: DELETED_RETENTION_S,
    });
    if (typeof done !== 'number' || done === 0) return null;
    await this.#announceChange(ref);
    return done;
  }

  /** Time at which an artifact was deleted, ms since 1970; null where it was not. */
  async deletedAtMs(ref: ArtifactRef): Promise<number | null> {
    const deleted = await this.#redis.hget(artifactKeys(ref).artifact, 'deleted');
    return deleted === null ? null : Number(deleted);
  }

  /** Notes that nothing is left of the tasks that an artifact had before it was deleted and its id used again. */
  async endPurge(ref: ArtifactRef, deletedAtMs: number): Promise<void> {
    await END_PURGE.run(this.#redis, { artifact: artifactKeys(ref).artifact, deletedAtMs });
  }

  /** Takes a deleted artifact of which nothing is left off the list. */
  async forget(ref: ArtifactRef): Promise<void> {
    const member = qualifiedId(ref);
    await this.#redis.zrem(ARTIFACT_INDEX, member);
    // Where its id was used again in the same moment, it belongs there.
    if ((await this.deletedAtMs(ref)) === null) await this.#redis.zadd(ARTIFACT_INDEX, 0, member);
    else await FORGET.run(this.#redis, { queue: queueKeysOf(ref) });
  }

  /**
   * Ids of a namespace's artifacts in order.
   * @param after an artifact id: only what follows it
   */
  async list(namespace: string, after: string | null, limit: number): Promise<string[]> {
    const from = after === null ? `[${namespace}/` : `(${namespace}/${after}`;
    // '0' is the character that follows '/': the end of everything that begins with "<namespace>/".
    const members = await this.#redis.zrange(ARTIFACT_INDEX, from, `(${namespace}0`, 'BYLEX', 'LIMIT', 0, limit);
    return members.map((member) => parseQualifiedId(member).artifactId);
  }

  /** Number of artifacts, in all namespaces. */
  async count(): Promise<number> {
    return await this.#redis.zcard(ARTIFACT_INDEX);
  }

  /**
   * The artifacts of every namespace, a page at a time: all of them where there are so many at most, else those that are active and that
   * were last, as many.
   */
  async *latest(most: number): AsyncGenerator<ArtifactRef[]> {
    if ((await this.count()) <= most) yield* this.all();
    else yield await this.#lists.latest(most);
  }

  /** Every artifact of every namespace, a page at a time. */
  async *all(): AsyncGenerator<ArtifactRef[]> {
    const pageSize = 500;
    let after: string | null = null;
    do {
      const page = await this.pageOfAll(after, pageSize);
      after = page.at(-1)?.member ?? null;
      if (page.length > 0) yield page.map(({ ref }) => ref);
    } while (after !== null);
  }

  /**
   * Reads artifacts of every namespace, in the order of the index.
   * @param after the index's member for an artifact: only what follows it; null for the first ones
   */
  async pageOfAll(after: string | null, count: number): Promise<{ member: string; ref: ArtifactRef }[]> {
    const from = after === null ? '-' : `(${after}`;
    const members = await this.#redis.zrange(ARTIFACT_INDEX, from, '+', 'BYLEX', 'LIMIT', 0, count);
    return members.map((member) => ({ member, ref: parseQualifiedId(member) }));
  }

  /** Says that a version waits for a worker to make it ready. */
  async wantPreparation(ref: ArtifactRef): Promise<void> {
    await this.#announceChange(ref);
  }

  /** Claims the making ready of a version for a worker; false where another has it. To be renewed by {@link notePreparation}. */
  async claimPreparation(ref: ArtifactRef, version: number, claimant: string): Promise<boolean> {
    const key = artifactKeys(ref).preparing(version);
    return (await this.#redis.set(key, claimant, 'PX', CLAIM_MS, 'NX')) === 'OK';
  }

  /** Gives a claim up: another worker, or the same one, may try again. */
  async dropPreparation(ref: ArtifactRef, version: number, claimant: string): Promise<void> {
    const key = artifactKeys(ref).preparing(version);
    if ((await this.#redis.get(key)) === claimant) await this.#redis.del(key);
  }

  /**
   * Says how far a version is, and that its claimant lives.
   * @returns false where the version is not its business any more
   */
  async notePreparation(namespace: string, version: Version, claimant: string, message: string): Promise<boolean> {
    const preparation = { message, workerId: claimant, at: new Date(sharedNow()).toISOString() };
    return await this.#prepared(namespace, { ...version, preparation }, claimant, '');
  }

  /**
   * Ends the making ready of a version.
   * @returns false where the version was not this claimant's business any more, and nothing was written
   */
  async finishPreparation(
    namespace: string,
    version: Version,
    claimant: string,
    result: { readonly image?: PinnedImage } | { readonly error: ErrorData },
  ): Promise<boolean> {
    const { preparation: _over, ...rest } = version;
    const to = 'error' in result ? 'failed' : 'ready';
    transition('A version', VERSION_TRANSITIONS, 'creating', to);
    if (!(await this.#prepared(namespace, { ...rest, ...result }, claimant, to))) return false;
    await this.#announceChange({ namespace, artifactId: version.artifactId });
    return true;
  }

  async #prepared(namespace: string, version: Version, claimant: string, to: VersionState | ''): Promise<boolean> {
    const { artifactId, version: number } = version;
    const { state: _beside, ...record } = version;
    const keys = artifactKeys({ namespace, artifactId });
    const done = await PREPARED.run(this.#redis, {
      versions: keys.versions,
      versionStates: keys.versionStates,
      claim: keys.preparing(number),
      contents: keys.contents,
      deployments: keys.deployments,
      version: number,
      claimant,
      record: JSON.stringify(record),
      to,
      claimMs: CLAIM_MS,
      contentHash: version.contentHash,
      imageId: version.image?.id ?? '',
    });
    return done === 1;
  }

  async #announceChange(ref: ArtifactRef): Promise<void> {
    await this.#lists.watched.put(ref);
    await this.#redis.publish(CHANNEL_CHANGED, qualifiedId(ref));
  }
}

export const DEFAULT_SETTINGS: ArtifactSettings = {
  paused: false,
  maxConcurrency: null,
  weight: DEFAULT_WEIGHT,
  reserved: 0,
  maxBacklog: DEFAULT_MAX_BACKLOG,
  maxBacklogMiB: DEFAULT_MAX_BACKLOG_MIB,
};

export function versionNotFound(artifactId: string, version: number): ArtifactError {
  return new ArtifactError('VERSION_NOT_FOUND', {
    message: `Artifact ${artifactId} has no version ${version}.`,
    details: { artifactId, version },
  });
}

/** Reads a version. A field that an older release did not write has its default; one that this release cannot run is an {@link UnknownVersion}. */
function parseVersion(
  text: string,
  { artifactId, version, state }: { readonly artifactId: string; readonly version: number; readonly state: string },
): StoredVersion {
  const record = { ...UNSAID, ...parseObject(text), artifactId, version, state };
  return (
    readRecord(Version, record) ?? new UnknownVersion(artifactId, version, record, recordProblems(Version, record))
  );
}

const UNSAID = { contentHash: '', code: null, createdAt: new Date(0).toISOString() };

/** Reads settings, each by itself: one that is not there, or that says what this release does not know, has its default. */
function readSettings(text: string | undefined): ArtifactSettings {
  const stored = parseObject(text ?? null);
  const known = Object.entries(ArtifactSettings.properties).filter(([name, schema]) => matches(schema, stored[name]));
  return { ...DEFAULT_SETTINGS, ...Object.fromEntries(known.map(([name]) => [name, stored[name]])) };
}

/** Parses a text that holds an object as JSON; an empty one where it holds none. */
function parseObject(text: string | null): Record<string, unknown> {
  if (text === null) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
