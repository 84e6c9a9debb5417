import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { PilumError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import { type BlobStore, CHUNK_BYTES } from '@pilum/core/store/blob-store.ts';
import type { App } from '../http/app-type.ts';
import { requireIdentity } from '../http/content-encoding.ts';
import type { UnfinishedBodies } from '../http/unfinished-bodies.ts';
import { Blob, BlobPath, NoQuery, refusals } from './http-shapes.ts';

export interface BlobRouteDeps {
  readonly blobs: BlobStore;
  readonly blobLimitBytes: number;
  readonly unfinished: UnfinishedBodies;
}

/** Adds the routes of blobs. Needs a scope of its own, because it leaves bodies as streams. */
export function blobRoutes(app: App, { blobs, blobLimitBytes, unfinished }: BlobRouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, stream, done) => done(null, stream));

  app.put(
    '/v1/blobs/:digest',
    {
      config: {
        needs: 'artifacts:write',
        takesBody: {
          content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
          required: true,
        },
      },
      schema: {
        tags: ['Blobs'],
        summary: 'Upload code',
        description: 'The body is one file or one archive, and is stored if it has the digest.',
        consumes: ['application/octet-stream'],
        params: BlobPath,
        querystring: NoQuery,
        response: { 200: Blob, 201: Blob, ...refusals },
      },
    },
    async (request, reply) => {
      const { namespace } = request.principal;
      const { digest } = request.params;
      requireIdentity(request.headers, 'a digest is of the bytes sent');
      // A size that is known beforehand is refused before the body is read.
      if (Number(request.headers['content-length'] ?? 0) > blobLimitBytes) throw tooLarge(blobLimitBytes);
      const isKnown = (await blobs.info({ namespace, digest })) !== null;
      const { sizeBytes } = await blobs.put({ namespace, digest }, bodyOf(request.body, unfinished));
      return reply.code(isKnown ? 200 : 201).send({ digest, sizeBytes });
    },
  );
}

/** Yields the bytes of the body, if there is one. After a refusal the error handler reads the rest. */
async function* bodyOf(body: unknown, unfinished: UnfinishedBodies): AsyncGenerator<Buffer> {
  if (!(body instanceof Readable)) return;
  try {
    yield* unfinished.passOn(body as IncomingMessage, CHUNK_BYTES);
  } catch (cause) {
    if (cause instanceof PilumError) throw cause;
    throw new RequestError('VALIDATION_FAILED', { message: 'The upload broke off; nothing was stored.', cause });
  }
}

function tooLarge(limitBytes: number): RequestError {
  return new RequestError('PAYLOAD_TOO_LARGE', {
    message: `Code may have up to ${Number((limitBytes / 1_048_576).toFixed(3))} MiB; nothing was stored.`,
    hint: 'Raise PILUM_BLOB_LIMIT_MIB, or upload less.',
    details: { limitBytes },
  });
}
