import { expect, test } from 'vitest';
import type { Bench, Deployment } from './runtime-under-test.ts';

const python = (name: string): Deployment => ({ language: 'python', entry: `main.py#${name}` });
const LANGUAGES = ['node', 'python'] as const;

/** What a function is handed and what becomes of what it returns, in every language. */
export function handlerContract(bench: () => Bench): void {
  const functions = {
    node: { echo: { entry: 'echo.mjs' }, kind: { entry: 'kind.mjs' }, results: { entry: 'results.mjs' } },
    python: { echo: python('handler'), kind: python('kind'), results: python('results') },
  };
  const failing = { node: { entry: 'failures.mjs' }, python: python('failures') };

  test.for(LANGUAGES)('a %s function gets a JSON payload as its value', async (language) => {
    const event = { text: 'grüße 🌍', numbers: [1, 2.5, -3], nested: { yes: true, nothing: null } };
    expect(await bench().once(functions[language].echo, event)).toMatchObject({
      ok: true,
      contentType: 'application/json',
      value: event,
    });
  });

  test.for(LANGUAGES)(
    'a %s function gets text as a string, bytes as bytes and nothing as an empty object',
    async (l) => {
      const instance = await bench().start(functions[l].kind);
      const kindOf = async (contentType: string, payload: Buffer) =>
        (await instance.call(null, { contentType, payload })).value as {
          type?: string;
          event?: unknown;
          bytes?: number;
        };
      expect((await kindOf('text/plain', Buffer.from('grüße'))).event).toBe('grüße');
      expect((await kindOf('text/plain; charset=ISO-8859-1', Buffer.from('grüße', 'latin1'))).event).toBe('grüße');
      expect((await kindOf('image/svg+xml', Buffer.from('<svg/>'))).event).toBe('<svg/>');
      expect((await kindOf('application/x-www-form-urlencoded', Buffer.from('a=1'))).event).toBe('a=1');
      expect((await kindOf('application/vnd.api+json', Buffer.from('[1]'))).event).toEqual([1]);
      expect((await kindOf('application/octet-stream', Buffer.from([0, 255]))).bytes).toBe(2);
      expect((await kindOf('application/json', Buffer.alloc(0))).event).toEqual({});
    },
  );

  test.for(LANGUAGES)('a %s function gets and returns megabytes unharmed', async (language) => {
    const instance = await bench().start(functions[language].echo);
    const payload = Buffer.alloc(6 * 1024 * 1024, 'pilum');
    for (let turn = 0; turn < 2; turn++) {
      const answer = await instance.call(null, { contentType: 'application/octet-stream', payload });
      expect(answer.contentType).toBe('application/octet-stream');
      expect(answer.body.equals(payload)).toBe(true);
    }
  });

  test.for(LANGUAGES)('broken JSON never reaches a %s function: VALIDATION_FAILED says where', async (language) => {
    const instance = await bench().start(functions[language].echo);
    for (const text of ['{"a":', '{bad}', '\xff\xfe']) {
      const answer = await instance.call(null, { payload: Buffer.from(text, 'latin1') });
      expect(answer).toMatchObject({ ok: false, error: { code: 'VALIDATION_FAILED' } });
      expect(answer.error?.message).toMatch(/position \d+|UTF-8/);
    }
    expect((await instance.call({ still: 'works' })).value).toEqual({ still: 'works' });
  });

  test('what a Node function returns becomes bytes, text or JSON by its kind', async () => {
    const instance = await bench().start(functions.node.results);
    const of = (kind: string) => instance.call({ kind });
    expect((await of('bytes')).body).toEqual(Buffer.from([0, 255, 1]));
    expect((await of('view')).body).toEqual(Buffer.from([2, 3]));
    expect((await of('arrayBuffer')).body).toEqual(Buffer.from([9, 8]));
    expect(await of('text')).toMatchObject({ contentType: 'text/plain; charset=utf-8', value: 'grüße' });
    expect(await of('nothing')).toMatchObject({ contentType: 'application/json', value: null });
    expect((await of('nan')).value).toEqual([null]);
    for (const kind of ['bigint', 'cycle', 'map', 'function']) {
      const { error } = await of(kind);
      expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
      expect(error?.message).toContain('cannot be written as JSON');
    }
    expect((await of('stream')).value).toEqual([1]);
    expect((await of('large')).body.length).toBe(3 * 1024 * 1024);
  });

  test('what a Python function returns becomes bytes, text or JSON by its kind', async () => {
    const instance = await bench().start(functions.python.results);
    const of = (kind: string) => instance.call({ kind });
    expect((await of('bytes')).body).toEqual(Buffer.from([0, 255]));
    expect(await of('text')).toMatchObject({ contentType: 'text/plain; charset=utf-8', value: 'grüße' });
    expect(await of('nothing')).toMatchObject({ contentType: 'application/json', value: null });
    expect((await of('nan')).value).toEqual([null]);
    for (const kind of ['set', 'cycle']) {
      const { error } = await of(kind);
      expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
      expect(error?.message).toContain('cannot be written as JSON');
    }
    expect((await of('stream')).value).toEqual([0, 1, 2]);
    expect((await of('large')).body.length).toBe(3 * 1024 * 1024);
  });

  test.for(LANGUAGES)('what a %s function throws is FUNCTION_FAILED with type, message and stack', async (language) => {
    const instance = await bench().start(failing[language]);
    const { ok, error } = await instance.call({ kind: 'error' });
    expect(ok).toBe(false);
    expect(error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: 'PaymentDeclined: card expired',
      details: { type: 'PaymentDeclined', message: 'card expired' },
    });
    expect(error?.details?.stack).toMatch(/failures\.mjs:\d+|main\.py", line \d+/);
    expect(error?.details?.stack).not.toContain('bootstrap');
    expect(instance.instance.reusable).toBe(true);
  });

  test('a Node function may throw anything', async () => {
    const instance = await bench().start(failing.node);
    const thrown = async (kind: string) => (await instance.call({ kind })).error?.message;
    expect(await thrown('rejection')).toBe('PaymentDeclined: card expired');
    expect(await thrown('text')).toBe('string: just text');
    expect(await thrown('null')).toBe('object: null');
    expect(await thrown('object')).toBe('object: {"code":7}');
  });

  test.for(['uncaught', 'unhandled'])(
    'an error that is %s fails the task, and the instance is not used again',
    async (k) => {
      const instance = await bench().start(failing.node);
      const { error } = await instance.call({ kind: k });
      expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { type: 'PaymentDeclined' } });
      expect(instance.instance.reusable).toBe(false);
      expect(await instance.instance.ended).toMatchObject({ reason: 'exited', exitCode: 1 });
    },
  );

  test.for(LANGUAGES)('a %s function that exits has failed, and the error says how it ended', async (language) => {
    const instance = await bench().start(failing[language]);
    expect((await instance.call({ kind: 'exit' })).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining('exit code 3'),
      details: { exitCode: 3 },
    });
    expect(await instance.instance.ended).toMatchObject({ reason: 'exited', exitCode: 3 });
  });

  test.for([
    ['node', 'abort', 'SIGABRT'],
    ['python', 'crash', 'SIGSEGV'],
  ] as const)('a %s function that crashes has failed (%s)', async ([language, kind, signal]) => {
    const instance = await bench().start(failing[language]);
    expect((await instance.call({ kind })).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining(signal),
    });
  });

  test.for(LANGUAGES)('a %s function prints to the log, in order, and never into the result', async (language) => {
    const { value, log } = await bench().once(language === 'node' ? { entry: 'logs.mjs' } : python('logs'));
    expect(value).toBe('result');
    const own = log.filter(({ text }) => !['raw', 'from a child'].includes(text));
    expect(own.map(({ text }) => text)).toEqual([
      language === 'node' ? 'first { a: 1 }' : 'first 1',
      'second',
      language === 'node' ? 'third' : 'from logging',
      'fourth',
      'fifth',
      'no newline',
    ]);
    expect(own.map(({ stream }) => stream)).toEqual(['stdout', 'stderr', 'stderr', 'log', 'stdout', 'stdout']);
    expect(own[3]).toMatchObject({ level: 'debug', fields: { n: 4 } });
    expect(log).toContainEqual(expect.objectContaining({ stream: 'stdout', text: 'raw' }));
    expect(log).toContainEqual(expect.objectContaining({ stream: 'stderr', text: 'from a child' }));
  });

  test('a line without end is cut, with a mark', async () => {
    const { log } = await bench().once({ entry: 'logs.mjs' }, { long: true });
    const cut = log.filter(({ text }) => text.startsWith('yyy'));
    expect(cut).toHaveLength(1);
    expect(cut[0]?.text).toMatch(/^y{16384}… \[cut\]$/);
  });

  test.for(LANGUAGES)('a warm %s instance keeps the state of its module', async (language) => {
    const instance = await bench().start(language === 'node' ? { entry: 'counter.mjs' } : python('counter'));
    expect(instance.instance.reusable).toBe(true);
    for (const expected of [1, 2, 3]) expect((await instance.call({})).value).toBe(expected);
  });

  test.for(LANGUAGES)('the context of a %s function says what the task is', async (language) => {
    const instance = await bench().start(language === 'node' ? { entry: 'context.mjs' } : python('describe'));
    const { value } = await instance.call(
      {},
      { attempt: 2, deadlineMs: Date.now() + 5000, headers: { 'x-a': 'b' }, traceparent: '00-1-2-01' },
    );
    const name = (camel: string) =>
      language === 'node' ? camel : camel.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    expect(value).toMatchObject({
      [name('taskId')]: 'test.01J8ZQ5V7N3K4M6P8R9S0T1V2W',
      [name('artifactId')]: 'test',
      version: 1,
      namespace: 'default',
      attempt: 2,
      headers: { 'x-a': 'b' },
      traceparent: '00-1-2-01',
      remains: true,
    });
  });

  test.for(LANGUAGES)('a %s function sees the environment of its spec and not that of the worker', async (language) => {
    process.env.WORKERS_SECRET = 'secret';
    const deployment = language === 'node' ? { entry: 'environment.mjs' } : python('environment');
    const { value } = await bench().once({ ...deployment, env: { LEVEL: 'debug', LD_PRELOAD: '/nonexistent.so' } });
    const { env, cwd } = value as { env: Record<string, string>; cwd: string };
    expect(env).toMatchObject({ LEVEL: 'debug', HOME: '/tmp', LANG: 'C.UTF-8' });
    expect(Object.keys(env).sort()).toEqual(['HOME', 'LANG', 'LD_PRELOAD', 'LEVEL', 'PATH']);
    expect(cwd).toMatch(/\/code(\/test)?$/);
  });

  test.for([
    ['CommonJS exports', 'commonjs.cjs#handler', { file: 'commonjs.cjs', esm: false }],
    ['module.exports', 'commonjs-default.cjs', 'module.exports'],
    ['a named export', 'counter.mjs#named', 'named'],
    ['TypeScript', 'typed.ts', { hello: 'you' }],
  ] as const)('Node runs %s', async ([, entry, expected]) => {
    expect((await bench().once({ entry }, { name: 'you' })).value).toEqual(expected);
  });

  test('Node finds packages that came with the code', async () => {
    expect((await bench().once({ entry: 'package/index.js' }, { n: 21 })).value).toBe(42);
  });

  test('Python keeps one event loop for its asynchronous functions', async () => {
    const instance = await bench().start(python('asynchronous'));
    const first = (await instance.call(1)).value as { loop: number };
    expect((await instance.call(2)).value).toEqual({ loop: first.loop, event: 2 });
  });

  test('a Python function that forks answers once', async () => {
    const instance = await bench().start(python('forks'));
    expect((await instance.call({})).value).toBe('of the parent');
    expect((await instance.call({})).value).toBe('of the parent');
  });

  test('a result above limits.outputMiB is OUTPUT_TOO_LARGE, and the instance goes on', async () => {
    const instance = await bench().start(functions.node.results);
    expect((await instance.call({ kind: 'tooLarge' })).error).toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
    expect((await instance.call({ kind: 'text' })).value).toBe('grüße');
  });

  test('a function that writes to the channel itself is ended, and its caller told', async () => {
    for (const kind of ['none', 'meta']) {
      const instance = await bench().start({ entry: 'channel.mjs' });
      const { error } = await instance.call({ kind });
      expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { type: 'Protocol' } });
      // Killed, or gone by itself a moment before, when its channel closed: either way it does not stay.
      await instance.instance.ended;
      expect(instance.instance.reusable).toBe(false);
    }
  });

  test('what an earlier call has left behind cannot answer in the stead of a later one', async () => {
    const instance = await bench().start({ language: 'python', entry: 'forger.py' });
    expect((await instance.call({ fork: true })).value).toBe('forked');
    // While this one runs the child is at it.
    expect((await instance.call({ sleep: 0.1 })).value).toBe('real');
    expect((await instance.call({})).value).toBe('real');
  });

  test.for([
    [{ entry: 'missing.mjs' }, 'The code has no file missing.mjs; it has: '],
    [{ entry: 'counter.mjs#absent' }, 'does not export a function as absent; it exports: default, named, notAFunction'],
    [{ entry: 'counter.mjs#notAFunction' }, 'does not export a function as notAFunction'],
    [{ entry: 'syntax-error.mjs' }, 'SyntaxError: '],
    [{ entry: 'throws-at-import.mjs' }, 'Error: no database'],
    [{ entry: 'exits-at-import.mjs' }, '(exit code 4): cannot go on'],
    [{ language: 'python', entry: 'missing.py' }, 'The code has no file missing.py'],
    [python('absent'), 'main.py does not define a function absent; it defines: '],
    [{ language: 'python', entry: 'broken.py' }, 'SyntaxError: '],
  ] as const)('%o does not start, and the error says why', async ([deployment, message]) => {
    await expect(bench().start(deployment)).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining(message),
    });
  });

  test('a syntax error comes with the line that has it', async () => {
    const output = async (deployment: Deployment) => {
      const error = (await bench()
        .start(deployment)
        .catch((thrown) => thrown)) as { details: { output: string } };
      return error.details.output;
    };
    expect(await output({ entry: 'syntax-error.mjs' })).toContain('syntax-error.mjs:2');
    expect(await output({ language: 'python', entry: 'broken.py' })).toContain('broken.py", line 1');
    expect(await output({ entry: 'throws-at-import.mjs' })).toContain('about to fail');
  });

  test('what the process runtime cannot do yet is NOT_IMPLEMENTED by name', async () => {
    await expect(bench().start({ protocol: 'lambda', command: ['./bootstrap'] })).rejects.toMatchObject({
      code: 'NOT_IMPLEMENTED',
      message: expect.stringContaining('lambda'),
    });
  });
}
