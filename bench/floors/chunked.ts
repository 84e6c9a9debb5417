import { once } from 'node:events';
import { createServer } from 'node:http';
import { untilTold } from './until-told.ts';

/** A floor for streams: what yields answers over HTTP itself, chunk by chunk, as fast as it is taken. Nothing is kept. */
const FILLER = 'x'.repeat(1024);

function* frames(count: number) {
  for (let i = 0; i < count; i++) yield FILLER;
}

const server = createServer(async (request, response) => {
  const count = Number(new URL(request.url ?? '/', 'http://floor').searchParams.get('count'));
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  for await (const frame of frames(count)) if (!response.write(frame)) await once(response, 'drain');
  response.end();
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => untilTold());
