type Examples = Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>;

/** Bodies that one may try, by the name of their operation. */
export const EXAMPLES: Readonly<Record<string, Examples>> = {
  deployArtifact: {
    javascript: {
      summary: 'A function in JavaScript',
      value: { runtime: 'process', code: { inline: 'export default (e) => ({ hello: e.name })' } },
    },
    python: {
      summary: 'A function in Python',
      value: {
        runtime: 'process',
        language: 'python',
        code: { inline: 'def handler(event, context):\n    return {"hello": event["name"]}\n' },
      },
    },
    program: {
      summary: 'Any program that reads standard input',
      value: { runtime: 'process', command: ['sort', '-r'] },
    },
    retried: {
      summary: 'Tried up to five times, begun anew never after a loss',
      value: {
        runtime: 'process',
        code: { inline: 'export default (e) => e' },
        retry: { attempts: 5, recoveries: 0, backoff: { type: 'exponential', delayMs: 200 } },
      },
    },
  },
  changeSettings: { limited: { summary: 'Two at once over all workers', value: { maxConcurrency: 2 } } },
  setAlias: { live: { summary: 'What a bare id means', value: { version: 1 } } },
  changeVersion: { deprecated: { summary: 'No longer what a bare id means', value: { state: 'deprecated' } } },
  invoke: { json: { summary: 'What the function is given', value: { name: 'Ada' } } },
  startStream: { json: { summary: 'What the function is given', value: { to: 5 } } },
  retryTask: {
    fixed: { summary: 'With the code that runs now', value: { version: 'live' } },
    edited: { summary: 'With another payload', value: { payload: { name: 'Ada' } } },
  },
  retryTasks: {
    exhausted: {
      summary: 'All that have used up their attempts or their wait, with the code that runs now',
      value: { artifact: 'hello', exhausted: true, version: 'live' },
    },
  },
};
