const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

/** Counts down, a value at a time. A reader sees each as it is yielded; when the caller goes away, `signal` is aborted. */
export default async function* countdown({ from = 3, everyMs = 50 }, context) {
  const { signal } = context;
  for (let left = from; left > 0; left--) {
    context.progress({ done: from - left, of: from });
    yield { left };
    await pause(everyMs, signal);
  }
  yield 'lift-off\n';
}
