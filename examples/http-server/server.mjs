import express from 'express';

const app = express();
app.use(express.json());

/** Kept as long as this instance lives, and not shared with other instances: real notes belong in a database. */
const notes = new Map();

app.get('/healthz', (_request, response) => response.send('well'));
app.get('/notes', (_request, response) => response.json([...notes.keys()]));
app.put('/notes/:name', (request, response) => {
  notes.set(request.params.name, request.body);
  response.status(201).json({ kept: request.params.name });
});
app.get('/notes/:name', (request, response) => {
  const note = notes.get(request.params.name);
  if (note === undefined) response.status(404).json({ error: 'no such note' });
  else response.json(note);
});

app.listen(process.env.PORT);
