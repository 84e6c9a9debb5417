import { createServer } from 'node:http';
import { hostname } from 'node:os';

createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ path: request.url, from: hostname() !== '' && 'a container' }));
}).listen(process.env.PORT);
