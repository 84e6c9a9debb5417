// Errors that nothing caught, and how the process ends.

/** An error that nothing caught, of the call that runs: the fields of its frame until that is sent. */
let uncaught = null;
/** Something of an earlier call has gone wrong: this instance takes no more calls. */
let isSpoilt = false;

/**
 * An error that nothing caught leaves the module in an unknown state: the task fails and the instance goes. Whoever else
 * listens hears of it too, in the meantime, and changes nothing in that.
 */
function onUncaught(error) {
  const origin = callOfContext();
  if (current !== null && origin !== null && origin !== current) {
    // The call that runs now has no part in it: it goes on, and the instance goes after it.
    isSpoilt = true;
    const { stack, message } = readThrown(error);
    process.stderr.write(`uncaught, of task ${origin.taskId}, which is over: ${stack || message}\n`);
    return;
  }
  if (uncaught !== null) return;
  if (current !== null) uncaught = { id: current.id, ...describe(error), fatal: true };
  else process.stderr.write(`uncaught: ${error?.stack ?? textOf(error)}\n`);
  nextTurn(() => exit(1));
}

/** The codes that a sandbox makes of signals begin behind this one. */
const LAST_PLAIN_EXIT = 128;

/** Says what is still to be said before this process ends, whatever ends it, and be it another listener. */
function onExit(exitCode) {
  if (uncaught !== null) {
    send(ERROR, uncaught);
    uncaught = null;
    current = null;
    return;
  }
  const origin = callOfContext();
  const isNoDoingOfCall = current === null || (origin !== null && origin !== current);
  if (isNoDoingOfCall) send(ERROR, { id: current?.id ?? null, lost: true });
  // Nobody else can tell it from an end by a signal.
  else if (exitCode > LAST_PLAIN_EXIT) send(ERROR, { id: current.id, exitCode });
}

/** The flag by which an author says that an unhandled rejection is no error. */
const LEAVES_REJECTIONS = /--unhandled[-_]rejections[= ](?:none|warn\b)/;

function watchForErrors(env) {
  // Another listener may be removed by the function, or be the only one that Node asks; this one hears of all.
  process.on('uncaughtExceptionMonitor', onUncaught);
  process.on('uncaughtException', ignore);
  if (!LEAVES_REJECTIONS.test(env.NODE_OPTIONS ?? '')) process.on('unhandledRejection', onUncaught);
  process.on('exit', onExit);
}

const ignore = () => {};

let terminating = false;

/** Ends a generator at the place where it stands. */
async function leave(call) {
  try {
    await call.iterator?.return?.();
  } catch {
    // The process is on its way out.
  }
  if (current === call) {
    current = null;
    dieOfTerm();
  }
}

function dieOfTerm() {
  process.removeListener('SIGTERM', onTerminate);
  process.kill(process.pid, 'SIGTERM');
}

/** The call is ended from outside; SIGTERM follows. */
function onAbort({ id, name, message }) {
  if (current?.id === id) abort(current, name, message);
}

function abort(call, name, message) {
  if (call.reason !== null) return;
  call.reason = new Error(message);
  call.reason.name = name;
  call.controller?.abort(call.reason);
  wake(call);
}

/** Tells whoever asked for `context.signal`, who has the grace to finish; any other call need not be waited for. */
function onTerminate() {
  const usersOwn = process.listenerCount('SIGTERM') > 1;
  // The `finally` blocks of a generator are to run.
  if (current !== null && (current.controller !== null || current.iterator !== null)) {
    terminating = true;
    const call = current;
    // The frame that says why was sent before the signal: where there is one, it is read in this turn of the loop.
    setImmediate(() => {
      abort(call, 'AbortError', 'The task was stopped.');
      if (!call.isHeard) leave(call);
    });
  } else if (!usersOwn) dieOfTerm();
}
