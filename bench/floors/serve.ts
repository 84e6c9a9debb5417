import Fastify, { type FastifyInstance } from 'fastify';
import { untilTold } from './until-told.ts';

/** Largest body that a floor takes: more than any that it is sent. */
const BODY_LIMIT = 8 * 1_048_576;

/** Fastify as a floor has it. With `raw` a handler is given the bytes of the body as they came. */
export function createServer({ raw }: { raw: boolean }): FastifyInstance {
  const app = Fastify({ logger: false, bodyLimit: BODY_LIMIT });
  if (raw) {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  }
  return app;
}

export async function serve(app: FastifyInstance): Promise<void> {
  await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
  untilTold();
}
