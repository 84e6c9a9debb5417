// The export that is called, and those that are made for something else.

/** The first module that is imported costs more than the next one: here is one, before there is code. */
async function prepare() {
  await import('./empty.mjs');
  send(PONG, {});
}

/** The export itself, or that of a CommonJS module, whose exports are its default. */
function findHandler(module, name) {
  for (const candidate of [module[name], module.default?.[name], module.default?.default?.[name]]) {
    if (typeof candidate === 'function') return candidate;
  }
  return null;
}

/** Returns whatever is exported by that name. */
const exportOf = (module, name) => module[name] ?? module.default?.[name] ?? module.default?.default?.[name];

const AS_SERVER =
  'Deploy it with protocol http and a command that has it listen on process.env.PORT, or export an object that has fetch(request).';

/** Says what an export is for that is no handler of `(event, context)`, and what to do with it; null where it may be one. */
function takenFor(value) {
  const isFunction = typeof value === 'function';
  if (!isFunction && (typeof value !== 'object' || value === null)) return null;
  if (typeof value.listen === 'function') {
    const [, kind] = [
      [isFunction && typeof value.use === 'function', 'an Express application'],
      [typeof value.inject === 'function', 'a Fastify application'],
      [typeof value.callback === 'function' && typeof value.use === 'function', 'a Koa application'],
      [true, 'a server'],
    ].find(([holds]) => holds);
    return `what looks like ${kind}, and not a function of (event, context). ${AS_SERVER}`;
  }
  if (!isFunction) return null;
  if (isClass(value)) {
    return `the class ${/^(?:default)?$/.test(value.name) ? 'without a name' : value.name}; a handler is a function of (event, context): export one that makes an object of it.`;
  }
  const [first = '', second = ''] = parametersOf(value);
  if (/^_?req(?:uest)?$/.test(first) && /^_?res(?:ponse)?$/.test(second)) {
    return (
      `what looks like an HTTP handler of (${first}, ${second}), as Express and Google Cloud Functions have it; here a function is ` +
      `called with (event, context) and returns its answer, {statusCode, headers, body}. ${AS_SERVER}`
    );
  }
  if (/^_?(?:context|ctx)$/.test(first) && /^_?req(?:uest)?$/.test(second)) {
    return (
      `what looks like an Azure function of (${first}, ${second}); here a function is called with (event, context) and ` +
      'returns its answer, {statusCode, headers, body}.'
    );
  }
  if (value.length > 3) {
    return `a function of ${value.length} parameters; a handler is called with (event, context), or (event, context, callback).`;
  }
  return null;
}

const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value).slice(0, 6));

/** The names of a function's parameters, where its source has simple ones. */
function parametersOf(value) {
  const source = Function.prototype.toString.call(value).slice(0, 1000);
  const [, listed, single] =
    /^(?:async\s+)?(?:function\s*\*?\s*[\w$]*\s*|[\w$]+\s*)?\(([^)]*)\)|^(?:async\s+)?([\w$]+)\s*=>/.exec(source) ?? [];
  return (listed ?? single ?? '').split(',').map((name) => name.trim().replace(/\s*[:=].*$/s, ''));
}

/** A module that is called as on Workers, Deno and Bun: it exports `fetch`, or as its default an object that has it. */
function findFetcher(module, name) {
  if (name === 'fetch') return typeof module.fetch === 'function' ? module : null;
  for (const candidate of [module[name], module.default?.[name], module.default?.default?.[name]]) {
    if (typeof candidate === 'function') return null;
    if (typeof candidate?.fetch === 'function') return candidate;
  }
  return name === 'default' && typeof module.fetch === 'function' ? module : null;
}
