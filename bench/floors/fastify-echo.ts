import { createServer, serve } from './serve.ts';

/** Floor (a): what HTTP alone costs. */
const app = createServer({ raw: false });
app.post('/', (request, reply) => reply.send(request.body));
await serve(app);
