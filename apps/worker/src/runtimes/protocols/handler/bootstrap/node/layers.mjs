// Packages of layers.

/** Adds the layers to the places in which packages are looked for, after the place from which they are imported. */
async function lookInLayers(layers) {
  // At the top of a layer, and in `nodejs`, as archives for other platforms have them.
  const places = layers.flatMap((layer) => [layer, path.join(layer, 'nodejs')]);
  const having = places.filter((place) => fs.existsSync(path.join(place, 'node_modules')));
  if (having.length === 0) return;
  // Here and not above: without layers nobody waits for it.
  const { createRequire, isBuiltin, registerHooks } = await import('node:module');
  if (registerHooks === undefined) {
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Layers',
      message: `Packages from layers need Node 22.15 or newer, and this is ${process.versions.node}.`,
    });
  }
  const { resolve } = createRequire(import.meta.url);
  const parents = having.map((place) => pathToFileURL(path.join(place, 'package.json')).href);
  let isLooking = false;
  const lookFor = (specifier, context, nextResolve) => {
    // Node does not let a hook say from where `require` is to look.
    if (context.conditions.includes('require')) {
      const url = pathToFileURL(resolve(specifier, { paths: having })).href;
      return { url, shortCircuit: true };
    }
    return firstFound(parents, (parentURL) => nextResolve(specifier, { ...context, parentURL }));
  };
  registerHooks({
    resolve(specifier, context, nextResolve) {
      try {
        return nextResolve(specifier, context);
      } catch (error) {
        if (isLooking || !NOT_FOUND.has(error?.code) || !isPackage(specifier) || isBuiltin(specifier)) throw error;
        isLooking = true;
        try {
          return lookFor(specifier, context, nextResolve);
        } catch (other) {
          // One that is there and broken says what is wrong with it; else what the function asked for is missing.
          throw NOT_FOUND.has(other?.code) ? error : other;
        } finally {
          isLooking = false;
        }
      }
    },
  });
}

const NOT_FOUND = new Set(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND']);

/** Tells whether a specifier is the name of a package, or of something in one: no path and no URL. */
const isPackage = (specifier) => !/^(?:[./#]|[a-z][a-z0-9+.-]*:)/i.test(specifier);

function firstFound(candidates, find) {
  let failure;
  for (const candidate of candidates) {
    try {
      return find(candidate);
    } catch (error) {
      if (!NOT_FOUND.has(error?.code)) throw error;
      failure = error;
    }
  }
  throw failure;
}
