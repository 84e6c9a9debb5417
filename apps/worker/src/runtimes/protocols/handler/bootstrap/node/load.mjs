// The code: where it is found, what of it is called.

let handler = null;
let takesCallback = false;
/** The object whose `fetch` is the function; null where the handler is. */
let fetcher = null;
let limits = { outputBytes: 0 };

function failLoad(fields) {
  send(ERROR, { id: 0, ...fields });
  exit(1);
}

async function load(meta) {
  limits = meta.limits;
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, meta.env);
  takeOverOutput();
  process.chdir(meta.codeDirectory);
  const [file, exportName = 'default'] = meta.entry.split('#');
  const entry = path.join(meta.codeDirectory, file);
  if (!fs.existsSync(entry)) {
    const there = fs.readdirSync(meta.codeDirectory).slice(0, 20).join(', ');
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Entry',
      message: `The code has no file ${file}; it has: ${there}`,
    });
  }
  // Not the entry: a module that finds itself there takes itself for the program, and runs its command line.
  process.argv = [process.execPath, fileURLToPath(import.meta.url)];
  watchForErrors(meta.env);
  process.on('SIGTERM', onTerminate);
  if (meta.layers.length > 0) await lookInLayers(meta.layers);
  let module;
  try {
    module = await import(pathToFileURL(entry).href);
  } catch (error) {
    const fields = describe(error, 'INSTANCE_START_FAILED');
    send(ERROR, { id: 0, ...fields });
    // Node itself prints where a syntax error is, which the error does not say: let it.
    process.removeListener('uncaughtExceptionMonitor', onUncaught);
    process.removeListener('uncaughtException', ignore);
    process.removeListener('exit', onExit);
    setImmediate(() => {
      throw error;
    });
    return;
  }
  fetcher = findFetcher(module, exportName);
  handler = fetcher === null ? findHandler(module, exportName) : null;
  const foreign = fetcher === null ? takenFor(handler ?? exportOf(module, exportName)) : null;
  if (foreign !== null) {
    const message = `${file} exports as ${exportName} ${foreign}`;
    failLoad({ code: 'INSTANCE_START_FAILED', type: 'Entry', message });
  }
  takesCallback = handler !== null && handler.length === 3;
  // The first look at it costs more than all later ones: here nobody waits for an answer yet.
  if (fetcher !== null) new Request('http://localhost/');
  else if (handler === null) {
    const names = new Set(Object.keys(module));
    if (typeof module.default === 'object' && module.default !== null)
      for (const n of Object.keys(module.default)) names.add(n);
    names.delete('module.exports');
    const listed = [...names].slice(0, 50).join(', ') || 'nothing';
    failLoad({
      code: 'INSTANCE_START_FAILED',
      type: 'Entry',
      message: `${file} does not export a function as ${exportName}; it exports: ${listed}`,
    });
  }
  send(READY, { interpreter: `node ${process.versions.node}` });
}
