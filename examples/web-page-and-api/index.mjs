const page = `<!doctype html>
<title>Dice</title>
<button>Roll</button> <output>–</output>
<script>
  document.querySelector('button').onclick = async () => {
    const answer = await fetch('api/roll?sides=6', { method: 'POST' });
    document.querySelector('output').textContent = (await answer.json()).rolled;
  };
</script>
`;

export default {
  /** Serves the page and its API; called as on Workers, Deno and Bun. */
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/') return new Response(page, { headers: { 'content-type': 'text/html; charset=utf-8' } });
    if (pathname === '/api/roll' && request.method === 'POST') {
      const sides = Number(searchParams.get('sides') ?? 6);
      if (!(Number.isInteger(sides) && sides > 0))
        return Response.json({ error: 'sides: a whole number' }, { status: 400 });
      return Response.json({ rolled: 1 + Math.floor(Math.random() * sides) });
    }
    return new Response('There is nothing here.\n', { status: 404 });
  },
};
