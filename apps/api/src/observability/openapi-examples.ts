type Examples = Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>;

/** Example bodies by operation id. */
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
      summary: 'Any program that reads its standard input',
      value: { runtime: 'process', command: ['sort', '-r'] },
    },
    retried: {
      summary: 'Up to five attempts, and none after a lost instance',
      value: {
        runtime: 'process',
        code: { inline: 'export default (e) => e' },
        retry: { attempts: 5, recoveries: 0, backoff: { type: 'exponential', delayMs: 200 } },
      },
    },
  },
  changeSettings: { limited: { summary: 'Two concurrent tasks over all workers', value: { maxConcurrency: 2 } } },
  setAlias: { live: { summary: 'The version that a bare id runs', value: { version: 1 } } },
  changeVersion: { deprecated: { summary: 'A version that a bare id no longer runs', value: { state: 'deprecated' } } },
  invoke: { json: { summary: 'The payload of the function', value: { name: 'Ada' } } },
  startStream: { json: { summary: 'The payload of the function', value: { to: 5 } } },
  retryTask: {
    fixed: { summary: 'With the current code', value: { version: 'live' } },
    edited: { summary: 'With another payload', value: { payload: { name: 'Ada' } } },
  },
  retryTasks: {
    exhausted: {
      summary: 'All tasks that have used up their attempts or their wait, with the current code',
      value: { artifact: 'hello', exhausted: true, version: 'live' },
    },
  },
};
