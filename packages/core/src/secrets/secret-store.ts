import type { Redis } from 'ioredis';
import { ArtifactError, RuntimeError, SystemError } from '../errors/pilum-error.ts';
import { CHANNEL_SECRETS, SECRET_NAMESPACES, secretKeys } from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import { readRecord } from '../schemas/check.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { MAX_SECRETS, type SecretInfo, SecretRecord } from '../schemas/secret.ts';
import { isArgument } from '../schemas/text.ts';
import type { SecretKeys } from './secret-keys.ts';
import { REFER_SECRETS, REMOVE_SECRET, REWRITE_BOX, SET_SECRET } from './secret-scripts.ts';

/** Number of times that a secret that changes while it is read is read again. */
const READ_TRIES = 5;
/** A box without a record may be one whose record is on its way, unless so many versions were given since. */
const STRAY_AFTER = 100;
/** The answer of the script that sets a secret where the namespace has no room for it. */
const TOO_MANY = -1;

/** A value of a secret, for whoever starts an instance with it. */
export interface OpenedSecret {
  readonly version: number;
  readonly value: Buffer;
  /** Whether it can be the value of a variable. */
  readonly isText: boolean;
}

/** The record of a secret with its name, and without its value. */
type Named = SecretRecord & { readonly name: string };

/**
 * The secrets of all namespaces, as Redis keeps them: a record each, which says which version counts, and a box for that version. A box is written once, under
 * its version, before its record says so.
 */
export class SecretStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Sets a secret. The value leaves this process encrypted alone.
   * @param setBy the name of the caller's API key
   * @returns what is known of it, and whether there was none
   * @throws ArtifactError `STORE_FULL` where the namespace has as many as it may
   */
  async set(
    namespace: string,
    name: string,
    value: Buffer,
    setBy: string,
    keys: SecretKeys,
  ): Promise<{ record: Named; isNew: boolean }> {
    const at = secretKeys(namespace);
    await this.#redis.sadd(SECRET_NAMESPACES, namespace);
    const version = await this.#redis.incr(at.versions);
    const record: SecretRecord = {
      version,
      sizeBytes: value.length,
      isText: isText(value),
      setAt: new Date(sharedNow()).toISOString(),
      setBy,
      keyId: keys.firstId,
    };
    await this.#redis.hset(at.boxes, fieldOf(name, version), keys.seal({ namespace, name, version }, value));
    const before = Number(
      await SET_SECRET.run(this.#redis, {
        records: at.records,
        name,
        version,
        record: JSON.stringify(record),
        most: MAX_SECRETS,
      }),
    );
    // A later one that is there already makes this one an earlier one.
    const surplus = before < 0 ? version : before;
    if (surplus > 0) await this.#redis.hdel(at.boxes, fieldOf(name, surplus));
    if (before === TOO_MANY) {
      throw new ArtifactError('STORE_FULL', {
        message: `The namespace ${namespace} has ${MAX_SECRETS} secrets, which is all that it may have.`,
        hint: 'Delete some that nothing uses: GET /v1/secrets shows which artifacts use each.',
      });
    }
    await this.#tell(namespace, name);
    return { record: { name, ...record }, isNew: before === 0 };
  }

  /** Lists the secrets of a namespace by name, with the artifacts that use each. */
  async list(namespace: string): Promise<SecretInfo[]> {
    const { records } = secretKeys(namespace);
    const all = await this.#redis.hgetall(records);
    const named = Object.entries(all).map(([name, text]) => ({ name, ...recordOf(text) }));
    named.sort((a, b) => (a.name < b.name ? -1 : 1));
    return await Promise.all(named.map((one) => this.info(namespace, one)));
  }

  /** Returns what may be shown of a secret. */
  async info(namespace: string, { isText: _inner, ...shown }: Named): Promise<SecretInfo> {
    const usedBy = await this.#redis.smembers(secretKeys(namespace).users(shown.name));
    return { ...shown, usedBy: usedBy.sort() };
  }

  /**
   * Removes a secret.
   * @param isForced whether it goes also where an artifact uses it
   * @throws ArtifactError `SECRET_NOT_FOUND`, `SECRET_IN_USE`
   */
  async remove(namespace: string, name: string, isForced: boolean): Promise<void> {
    const at = secretKeys(namespace);
    const answer = await REMOVE_SECRET.run(this.#redis, {
      records: at.records,
      users: at.users(name),
      name,
      isForced: isForced ? 1 : 0,
    });
    if (Array.isArray(answer)) throw inUse(name, (answer as string[]).sort());
    if (answer === 0) throw secretNotFound(name);
    await this.#redis.hdel(at.boxes, fieldOf(name, Number(answer)));
    await this.#tell(namespace, name);
  }

  /**
   * Notes that an artifact uses secrets.
   * @returns what is known of each, by name
   * @throws ArtifactError `SECRET_NOT_FOUND`; nothing is noted then
   */
  async refer(ref: ArtifactRef, names: readonly string[]): Promise<Map<string, SecretRecord>> {
    const { namespace, artifactId } = ref;
    const at = secretKeys(namespace);
    const users = names.map(at.users);
    const answer = await REFER_SECRETS.run(this.#redis, { records: at.records, users, artifactId, names });
    if (!Array.isArray(answer)) throw secretNotFound(names[Number(answer) - 1] ?? '');
    return new Map(names.map((name, i) => [name, recordOf((answer as string[])[i] ?? '')]));
  }

  /** Takes the note back that an artifact uses secrets. */
  async unrefer(ref: ArtifactRef, names: readonly string[]): Promise<void> {
    const { namespace, artifactId } = ref;
    const { users } = secretKeys(namespace);
    await Promise.all(names.map((name) => this.#redis.srem(users(name), artifactId)));
  }

  /** Returns the versions that secrets have now; 0 for one that does not exist. */
  async versions(namespace: string, names: readonly string[]): Promise<Map<string, number>> {
    const texts = await this.#redis.hmget(secretKeys(namespace).records, ...names);
    return new Map(
      names.map((name, i) => {
        const text = texts[i] ?? null;
        return [name, text === null ? 0 : recordOf(text).version];
      }),
    );
  }

  /**
   * Reads the value of a secret.
   * @throws ArtifactError `SECRET_NOT_FOUND`; RuntimeError `SECRETS_UNAVAILABLE`
   */
  async open(namespace: string, name: string, keys: SecretKeys): Promise<OpenedSecret> {
    const at = secretKeys(namespace);
    for (let i = 0; i < READ_TRIES; i++) {
      const text = await this.#redis.hget(at.records, name);
      if (text === null) throw secretNotFound(name);
      const { version, isText: canBeVariable } = recordOf(text);
      const box = await this.#redis.hget(at.boxes, fieldOf(name, version));
      if (box !== null) return { version, value: keys.open({ namespace, name, version }, box), isText: canBeVariable };
      // Another version has come between the two reads.
    }
    throw new RuntimeError('SECRETS_UNAVAILABLE', {
      message: `Redis has no value of the secret ${name}.`,
      hint: 'Set it again with PUT /v1/secrets/{name}.',
      details: { secret: name },
    });
  }

  /** The namespaces that have had a secret. */
  async namespaces(): Promise<string[]> {
    return (await this.#redis.smembers(SECRET_NAMESPACES)).sort();
  }

  /** Returns how many secrets there are under each key. */
  async countByKey(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (const namespace of await this.namespaces()) {
      for (const text of await this.#redis.hvals(secretKeys(namespace).records)) {
        const { keyId } = recordOf(text);
        counts.set(keyId, (counts.get(keyId) ?? 0) + 1);
      }
    }
    return counts;
  }

  /**
   * Encrypts all values under the first key that are under another, and removes boxes that no record names. Versions stay as they are.
   * @returns how many were encrypted anew
   * @throws RuntimeError `SECRETS_UNAVAILABLE` where one does not open; those before it are done
   */
  async rotate(keys: SecretKeys): Promise<number> {
    let rewritten = 0;
    for (const namespace of await this.namespaces()) {
      const at = secretKeys(namespace);
      for (const [name, text] of Object.entries(await this.#redis.hgetall(at.records))) {
        const record = recordOf(text);
        if (record.keyId === keys.firstId) continue;
        const { version, value } = await this.open(namespace, name, keys);
        // One that has changed meanwhile is under the key of whoever set it, and is looked at with the next rotation.
        rewritten += Number(
          await REWRITE_BOX.run(this.#redis, {
            records: at.records,
            boxes: at.boxes,
            name,
            version,
            record: JSON.stringify({ ...record, keyId: keys.firstId }),
            box: keys.seal({ namespace, name, version }, value),
          }),
        );
      }
      await this.#removeStrays(namespace);
    }
    return rewritten;
  }

  /** A process that ended between box and record, or record and box, leaves a box. */
  async #removeStrays(namespace: string): Promise<void> {
    const at = secretKeys(namespace);
    const last = Number((await this.#redis.get(at.versions)) ?? 0);
    const fields = await this.#redis.hkeys(at.boxes);
    const records = await this.#redis.hgetall(at.records);
    const strays = fields.filter((field) => {
      const [name = '', version = ''] = field.split('@');
      const text = records[name];
      const counts = text === undefined ? 0 : recordOf(text).version;
      return Number(version) < counts || (counts === 0 && Number(version) < last - STRAY_AFTER);
    });
    if (strays.length > 0) await this.#redis.hdel(at.boxes, ...strays);
  }

  async #tell(namespace: string, name: string): Promise<void> {
    await this.#redis.publish(CHANNEL_SECRETS, `${namespace}/${name}`);
  }
}

/** Makes the error of a secret that does not exist. */
export function secretNotFound(name: string): ArtifactError {
  return new ArtifactError('SECRET_NOT_FOUND', {
    message: `There is no secret ${name} in this namespace.`,
    details: { secret: name },
  });
}

function inUse(name: string, artifacts: readonly string[]): ArtifactError {
  const some = artifacts.slice(0, MAX_SAID).join(', ');
  return new ArtifactError('SECRET_IN_USE', {
    message: `The secret ${name} is used by ${some}${artifacts.length > MAX_SAID ? ' and others' : ''}.`,
    details: { secret: name, artifacts: artifacts.slice(0, MAX_SAID) },
  });
}

/** Artifacts that an error names. */
const MAX_SAID = 20;

const fieldOf = (name: string, version: number) => `${name}@${version}`;

/** Reads a record, also one of another release: what it has besides stays in it, since it is written back with a new key. */
function recordOf(text: string): SecretRecord {
  const record = readRecord(SecretRecord, JSON.parse(text));
  if (record !== null) return record;
  throw new SystemError('INTERNAL', { message: 'Redis holds a record of a secret that this release cannot read.' });
}

function isText(value: Buffer): boolean {
  const text = value.toString('utf8');
  return isArgument(text) && Buffer.from(text, 'utf8').equals(value);
}
