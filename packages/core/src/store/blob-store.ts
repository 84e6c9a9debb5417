import { createHash, randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { ArtifactError, RequestError } from '../errors/pilum-error.ts';
import { BLOB_INDEX, BLOB_UPLOADS, BLOB_USAGE, blobKeys, UNUSED_BLOBS } from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import type { BlobRef } from '../schemas/refs.ts';
import { BEGIN_READ, COLLECT, COMMIT, END_RESERVATION, REFER, RESERVE, UNREFER } from './blob-scripts.ts';
import { UNLIST } from './list-scripts.ts';

/** Blobs are stored in pieces of this many bytes: no single Redis value and no buffer of ours is larger. */
export const CHUNK_BYTES = 512 * 1024;

/** An upload that is not complete after this long is forgotten, s; its chunks expire by themselves. */
const UPLOAD_LIMIT_S = 3600;

/** Blobs that are looked at before the next ones are read. */
const COLLECTED_AT_ONCE = 200;

export interface BlobLimits {
  /** Largest blob, bytes. */
  readonly blobBytes: number;
  /** All blobs of all namespaces together, bytes. */
  readonly quotaBytes: number;
  /** Refuses where Redis is too full for more. */
  readonly requireRoom?: () => Promise<void>;
}

export interface BlobInfo {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly chunks: number;
}

/** Code bytes by digest, in chunks. Each namespace has its own: none can deploy what another uploaded. */
export class BlobStore {
  readonly #redis: Redis;
  readonly #limits: BlobLimits;

  constructor(redis: Redis, limits: BlobLimits) {
    this.#redis = redis;
    this.#limits = limits;
  }

  /**
   * Stores bytes as they come, holding no more than one chunk of them. Nothing is there under the digest until all of
   * it is.
   * @throws RequestError `PAYLOAD_TOO_LARGE`; ArtifactError `STORE_FULL`, or `CHECKSUM_MISMATCH` where the bytes have
   *   another digest.
   */
  async put(ref: BlobRef, bytes: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<BlobInfo> {
    const { namespace, digest } = ref;
    const keys = blobKeys(ref);
    const uploadId = randomUUID();
    const hash = createHash('sha256');
    const chunkKeys: string[] = [];
    let reserved = 0;
    let isCommitting = false;
    try {
      for await (const chunk of inChunks(bytes)) {
        if (reserved + chunk.length > this.#limits.blobBytes) throw this.#tooLarge();
        await this.#limits.requireRoom?.();
        await this.#reserve(uploadId, chunk.length, reserved);
        reserved += chunk.length;
        hash.update(chunk);
        const key = keys.chunk(uploadId, chunkKeys.length);
        chunkKeys.push(key);
        await this.#redis.set(key, chunk, 'EX', UPLOAD_LIMIT_S);
      }
      const actual = `sha256:${hash.digest('hex')}`;
      if (actual !== digest) {
        throw new ArtifactError('CHECKSUM_MISMATCH', {
          message: `The bytes have the digest ${actual}, not ${digest}; nothing was stored.`,
          details: { expected: digest, actual },
        });
      }
      await this.#mayBeUnused(ref);
      isCommitting = true;
      const committed = await COMMIT.run(this.#redis, {
        meta: keys.meta,
        uploaded: chunkKeys,
        uploadId,
        sizeBytes: reserved,
        chunks: chunkKeys.length,
        nowMs: sharedNow(),
        chunkPrefix: keys.chunkPrefix,
      });
      if (committed === -1) {
        throw new RequestError('VALIDATION_FAILED', {
          message: `The upload took more than ${UPLOAD_LIMIT_S} s; nothing was stored.`,
          hint: 'Send it again.',
        });
      }
      if (committed === 0) await this.#discard(uploadId, reserved, chunkKeys);
      else await this.#endReservation(uploadId, reserved, committed === 1, `${namespace}/${digest}`);
      return { digest, sizeBytes: reserved, chunks: chunkKeys.length };
    } catch (error) {
      // What may be the blob by now is not touched; chunks that are not expire by themselves.
      await this.#discard(uploadId, reserved, isCommitting ? [] : chunkKeys).catch(() => undefined);
      throw error;
    }
  }

  /** Returns what is stored under a digest, or null. */
  async info(ref: BlobRef): Promise<BlobInfo | null> {
    const { digest } = ref;
    const meta = await this.#redis.hgetall(blobKeys(ref).meta);
    if (meta.uploadId === undefined) return null;
    return { digest, sizeBytes: Number(meta.sizeBytes ?? 0), chunks: Number(meta.chunks ?? 0) };
  }

  /**
   * The bytes, a chunk at a time, and the next one ahead. Whoever reads them checks the digest.
   * @throws ArtifactError `BLOB_NOT_FOUND`, or `CHECKSUM_MISMATCH` where a part of it is missing.
   */
  async *read(ref: BlobRef): AsyncGenerator<Buffer> {
    const { digest } = ref;
    const keys = blobKeys(ref);
    const begun = await BEGIN_READ.runForBytes(this.#redis, { meta: keys.meta, chunkPrefix: keys.chunkPrefix });
    if (begun === null) throw blobNotFound(digest);
    const [uploadId, count, first] = begun as [Buffer, Buffer, Buffer | null];
    const chunks = Number(count);
    let coming: Promise<Buffer | null> = Promise.resolve(first);
    for (let index = 0; index < chunks; index++) {
      const chunk = await coming;
      if (chunk === null) throw partMissing(digest, index, chunks);
      if (index + 1 < chunks) {
        // It comes while this one is worked on.
        coming = this.#redis.getBuffer(keys.chunk(uploadId.toString(), index + 1));
        coming.catch(() => undefined); // whoever reads on hears of it
      }
      yield chunk;
    }
  }

  /**
   * Notes that an artifact needs a blob, which is then not collected.
   * @throws ArtifactError `BLOB_NOT_FOUND`
   */
  async refer(ref: BlobRef, artifactId: string): Promise<void> {
    const { digest } = ref;
    const { meta, references } = blobKeys(ref);
    const done = await REFER.run(this.#redis, { meta, references, artifactId, nowMs: sharedNow() });
    if (done === 0) throw blobNotFound(digest);
  }

  /** Takes the note back. The blob stays for the grace of {@link collect}: a running task may need it once more. */
  async unrefer(ref: BlobRef, artifactId: string): Promise<void> {
    const { meta, references } = blobKeys(ref);
    await this.#mayBeUnused(ref);
    await UNREFER.run(this.#redis, { meta, references, artifactId, nowMs: sharedNow() });
  }

  /**
   * Deletes blobs that no artifact needs and that were stored before a moment.
   * @param beforeMs ms since 1970
   * @returns how many
   */
  async collect(beforeMs: number): Promise<number> {
    let collected = 0;
    for (;;) {
      const unused = await this.#redis.zrangebyscore(UNUSED_BLOBS, 0, beforeMs, 'LIMIT', 0, COLLECTED_AT_ONCE);
      for (const field of unused) if (await this.#collectOne(field, beforeMs)) collected++;
      if (unused.length < COLLECTED_AT_ONCE) return collected;
    }
  }

  /** Deletes a blob if no artifact needs it; where it stays, it is not found here again before it may be unused once more. */
  async #collectOne(field: string, beforeMs: number): Promise<boolean> {
    const slash = field.indexOf('/');
    const keys = blobKeys({ namespace: field.slice(0, slash), digest: field.slice(slash + 1) });
    const gone = await COLLECT.run(this.#redis, { meta: keys.meta, references: keys.references, beforeMs });
    if (!Array.isArray(gone)) {
      // Needed now, or stored again a moment ago; whoever needs it no more says so once more.
      if (gone === 0) await UNLIST.run(this.#redis, { list: UNUSED_BLOBS, member: field, listedAtMs: beforeMs });
      else await this.#redis.zadd(UNUSED_BLOBS, Number(gone), field);
      return false;
    }
    await UNLIST.run(this.#redis, { list: UNUSED_BLOBS, member: field, listedAtMs: beforeMs });
    const [uploadId, chunks] = gone as [string, string];
    for (let index = 0; index < Number(chunks); index++) await this.#redis.unlink(keys.chunk(uploadId, index));
    const size = await this.#redis.hget(BLOB_INDEX, field);
    if ((await this.#redis.hdel(BLOB_INDEX, field)) === 1) await this.#redis.decrby(BLOB_USAGE, Number(size));
    return true;
  }

  /** Puts every blob where {@link collect} finds it: releases before this one have not. */
  async listAll(): Promise<void> {
    for await (const page of this.#redis.hscanStream(BLOB_INDEX, { count: 500 }) as AsyncIterable<string[]>) {
      const fields = page.filter((_, i) => i % 2 === 0);
      if (fields.length > 0) await this.#redis.zadd(UNUSED_BLOBS, ...fields.flatMap((field) => [0, field]));
    }
  }

  /** Bytes in use by all blobs and running uploads. */
  async usage(): Promise<number> {
    return Number((await this.#redis.get(BLOB_USAGE)) ?? 0);
  }

  async #mayBeUnused({ namespace, digest }: BlobRef): Promise<void> {
    await this.#redis.zadd(UNUSED_BLOBS, sharedNow(), `${namespace}/${digest}`);
  }

  async #reserve(uploadId: string, more: number, before: number): Promise<void> {
    const now = sharedNow();
    const granted = await RESERVE.run(this.#redis, {
      usage: BLOB_USAGE,
      uploads: BLOB_UPLOADS,
      uploadId,
      bytesMore: more,
      bytesBefore: before,
      quotaBytes: this.#limits.quotaBytes,
      nowMs: now,
      expiresAtMs: now + UPLOAD_LIMIT_S * 1000,
    });
    if (granted !== 1) {
      throw new ArtifactError('STORE_FULL', {
        message: `The store for code has a quota of ${mebibytes(this.#limits.quotaBytes)} MiB, which this would exceed.`,
        details: { quotaBytes: this.#limits.quotaBytes },
      });
    }
  }

  async #discard(uploadId: string, reserved: number, chunkKeys: readonly string[]): Promise<void> {
    await Promise.all([
      ...chunkKeys.map((key) => this.#redis.unlink(key)),
      this.#endReservation(uploadId, reserved, false, ''),
    ]);
  }

  async #endReservation(uploadId: string, bytes: number, kept: boolean, field: string): Promise<void> {
    await END_RESERVATION.run(this.#redis, {
      usage: BLOB_USAGE,
      uploads: BLOB_UPLOADS,
      index: BLOB_INDEX,
      uploadId,
      bytes,
      isKept: kept ? 1 : 0,
      field,
    });
  }

  #tooLarge(): RequestError {
    return new RequestError('PAYLOAD_TOO_LARGE', {
      message: `Code may have up to ${mebibytes(this.#limits.blobBytes)} MiB; nothing was stored.`,
      hint: 'Raise PILUM_BLOB_LIMIT_MIB, or upload less.',
      details: { limitBytes: this.#limits.blobBytes },
    });
  }
}

const mebibytes = (bytes: number) => Number((bytes / 1_048_576).toFixed(3));

function partMissing(digest: string, index: number, chunks: number): ArtifactError {
  return new ArtifactError('CHECKSUM_MISMATCH', {
    message: `Part ${index + 1} of ${chunks} of the stored code ${digest} is missing.`,
    hint: 'Upload the same bytes again with PUT /v1/blobs/{digest}.',
    details: { digest },
  });
}

function blobNotFound(digest: string): ArtifactError {
  return new ArtifactError('BLOB_NOT_FOUND', {
    message: `No code of the digest ${digest} was uploaded to this namespace.`,
    details: { digest },
  });
}

/** The same bytes in pieces of exactly {@link CHUNK_BYTES}, the last one shorter. */
async function* inChunks(bytes: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const piece of bytes) {
    let rest = piece;
    while (size + rest.length >= CHUNK_BYTES) {
      const taken = rest.subarray(0, CHUNK_BYTES - size);
      yield Buffer.concat([...held, taken]);
      rest = rest.subarray(taken.length);
      held = [];
      size = 0;
    }
    if (rest.length > 0) {
      held.push(rest);
      size += rest.length;
    }
  }
  if (size > 0) yield Buffer.concat(held);
}
