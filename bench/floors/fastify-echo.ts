import Fastify from 'fastify';

/** Floor (a): what HTTP alone costs. */
const app = Fastify({ logger: false });
app.post('/', (request, reply) => reply.send(request.body));
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
