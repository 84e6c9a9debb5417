import { expect, test } from 'vitest';
import type { Bench, Deployment } from './runtime-under-test.ts';

const node = (name: string): Deployment => ({ entry: `rough.mjs#${name}` });
const python = (name: string): Deployment => ({ language: 'python', entry: `rough.py#${name}` });

/** What becomes of values, errors and ends that no example has, and real functions do. */
export function roughContract(bench: () => Bench): void {
  test('what the library of Python has as values is written as is usual', async () => {
    const instance = await bench().start(python('results'));
    const of = async (kind: string) => (await instance.call({ kind })).value;
    expect(await of('decimal')).toEqual({ price: '12.50', count: '3' });
    expect(await of('dates')).toEqual(['2026-01-02T03:04:05+00:00', '2026-01-02', '03:04:00']);
    expect(await of('delta')).toBe(60);
    const id = '00000000-0000-0000-0000-00000000000';
    expect(await of('uuid')).toEqual({ [`${id}1`]: `${id}2` });
    expect(await of('dataclass')).toEqual([{ x: 1, at: '2026-01-02' }]);
    expect(await of('enum')).toEqual({ color: 'red', level: 1, red: 1 });
    expect(await of('scalar')).toEqual([7, [1.5, null]]);
    expect(await of('path')).toBe('/a/b');
    expect(await of('others')).toEqual([[1], [0, 1], { a: 1 }, { 1: 2, null: 3 }, ['k']]);
    expect(await of('nan')).toEqual({ deep: [null, '1'] });
    expect(await of('half')).toBe('a\ufffdb');
  });

  test.for([
    ['set', 'a value of type set (at tags[0]) has no JSON form; make it a list'],
    ['bytes', 'a value of type bytes (at body) has no JSON form'],
    ['key', 'a key of type tuple (at by) has no JSON form'],
    ['object', 'a value of type object (at a[0]) has no JSON form'],
    ['complex', 'a value of type complex has no JSON form'],
  ])('a Python result with a %s fails, and says where it is', async ([kind, message]) => {
    const { error } = await bench().once(python('results'), { kind });
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining(String(message)) });
  });

  test('a Node result that JSON would lose something of fails, and says where it is', async () => {
    const instance = await bench().start(node('result'));
    const failure = async (kind: string) => (await instance.call({ kind })).error?.message;
    expect(await failure('map')).toContain('a Map has no JSON form (at a[0].b).');
    expect(await failure('set')).toContain('a Set has no JSON form (at tags).');
    expect(await failure('promise')).toContain('a Promise has no JSON form (at later).');
    expect(await failure('bigint')).toContain('a BigInt has no JSON form (at rows[0].id).');
    expect(await failure('cycle')).toContain('circular structure');
    expect(await failure('error')).toContain('an Error has no JSON form (at failed).');
    expect(await failure('pattern')).toContain('a RegExp has no JSON form (at by).');
    expect(await failure('query')).toContain('a URLSearchParams has no JSON form.');
    expect(await failure('blob')).toContain('a Blob has no JSON form (at files[0]).');
    const plain = { a: {}, b: [], d: [null, null], e: '1970-01-01T00:00:00.000Z' };
    expect((await instance.call({ kind: 'empty' })).value).toEqual(plain);
    expect((await instance.call({ kind: 'json' })).value).toEqual({ inner: {} });
  });

  test('the errors behind an error are told to the end of the chain', async () => {
    const { error } = await bench().once(node('chained'));
    expect(error?.message).toBe(
      'TypeError: fetch failed, caused by AggregateError: all failed, caused by Error: connect ENETUNREACH 192.0.2.1:80, ' +
        'caused by Error: ECONNREFUSED',
    );
    expect(error?.details?.causes).toEqual([
      { type: 'AggregateError', message: 'all failed' },
      { type: 'Error', message: 'connect ENETUNREACH 192.0.2.1:80', code: 'ENETUNREACH' },
      { type: 'Error', message: '', code: 'ECONNREFUSED' },
    ]);
    expect(error).toMatchObject({ hint: expect.stringContaining('limits.network') });
    const inPython = (await bench().once(python('chained'))).error;
    expect(inPython?.message).toMatch(
      /^ValueError: the order was not placed, caused by ConnectionError: no answer, caused by gaierror: /,
    );
    expect(inPython).toMatchObject({ hint: expect.stringContaining('limits.network') });
  });

  test.for([node('longChain'), python('long_chain')])(
    'a long chain of causes keeps where it began: %o',
    async (deployment) => {
      const { error } = await bench().once(deployment);
      const causes = error?.details?.causes as { message: string }[];
      expect(causes).toHaveLength(17);
      expect(causes.at(-1)?.message).toBe('0');
      expect(causes.at(-2)?.message).toBe('83 more are left out');
    },
  );

  test('a cause that leads back to its error is told once, and one that is suppressed not at all', async () => {
    expect((await bench().once(node('cyclicCause'))).error?.message).toBe('Error: itself');
    expect((await bench().once(python('hidden'))).error?.message).toBe('ValueError: outer');
  });

  test.for(['resolves', 'fetches'])('a function without network is told why it reaches nothing: %s', async (name) => {
    const { error } = await bench().once(node(name));
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', hint: expect.stringContaining('limits.network') });
  });

  test('other failures have no such hint', async () => {
    expect((await bench().once(node('longChain'))).error).not.toHaveProperty('hint');
  });

  test.for([
    ['throws later', 'late'],
    ['rejects', 'rejects'],
    ['has a listener that exits', 'exits'],
    ['has the only listener', 'alone'],
  ])('an error that nobody caught fails its call at once where the function %s', async ([, how]) => {
    const { error, log } = await bench().once(node('listens'), { how });
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: 'Error: late boom' });
    expect(log.map(({ text }) => text)).toContain('heard late boom');
  });

  test('a listener that throws itself ends its own process, and that is told', async () => {
    const { error } = await bench().once(node('listens'), { how: 'throws' });
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
  });

  test.for([{}, { hook: true }])('an error in a thread of Python fails its call at once: %o', async (event) => {
    const { error, log } = await bench().once(python('dies_in_thread'), event);
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: 'ValueError: late boom' });
    expect(log.map(({ text }) => text)).toContain('hook' in event ? 'heard late boom' : 'ValueError: late boom');
  });

  test.for(['throws', 'rejects'])('what an earlier call %s fails no other, and its instance goes', async (how) => {
    const instance = await bench().start(node('leaves'));
    expect((await instance.call({ how })).value).toBe('left');
    const { value, log } = await instance.call({ how: 'go' });
    expect(value).toBe('innocent');
    expect(log.map(({ text }) => text).join('\n')).toMatch(
      /uncaught, of task test\.\w+, which is over: Error: of an earlier task/,
    );
    expect(instance.instance.reusable).toBe(false);
    expect(await instance.instance.ended).toMatchObject({ reason: 'exited' });
  });

  test('an exit of an earlier call is a loss of the one that runs, and no failure of it', async () => {
    const instance = await bench().start(node('leaves'));
    await instance.call({ how: 'exits' });
    await expect(instance.call({ how: 'go' })).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
  });

  test('an error in a thread that an earlier call has left fails no other', async () => {
    const instance = await bench().start(python('leaves_thread'));
    await instance.call({});
    const { value, log } = await instance.call({ go: true });
    expect(value).toBe('innocent');
    expect(log.map(({ text }) => text).join('\n')).toContain('ValueError: of an earlier task');
    expect(await instance.instance.ended).toMatchObject({ reason: 'exited' });
  });

  test.for([
    [node('ends'), 'exit', 'exit code 3'],
    [node('ends'), 'zero', 'exit code 0'],
    [node('ends'), 'abort', 'signal SIGABRT'],
    [python('ends'), 'exit', 'exit code 3'],
    [python('ends'), 'os', 'exit code 4'],
    [python('ends'), 'abort', 'signal SIGABRT'],
    [node('ends'), 'like killed', 'exit code 137'],
    [node('ends'), 'like terminated', 'exit code 143'],
    [node('ends'), 'interrupt', 'signal SIGINT'],
    [python('ends'), 'like killed', 'exit code 137'],
    [python('ends'), 'like terminated', 'exit code 143'],
    [python('ends'), 'user', 'signal SIGUSR1'],
  ] as const)('a function that ends its own process has failed: %o %s', async ([deployment, how, end]) => {
    const { error } = await bench().once(deployment, { how });
    expect(error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: `The function ended its own process (${end}) before it had answered.`,
      details: { output: expect.stringContaining('about to end') },
    });
  });

  test.for([node('ends'), python('ends')])('one that is killed is a loss: %o', async (deployment) => {
    const instance = await bench().start(deployment);
    await expect(instance.call({ how: 'kill' })).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
  });

  test('a class is no handler, and that is said when it is loaded', async () => {
    await expect(bench().start(node('Klass'))).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining(
        'rough.mjs exports as Klass the class Klass; a handler is a function of (event, context)',
      ),
    });
  });

  test('a Node handler may answer through a callback', async () => {
    const instance = await bench().start(node('callback'));
    expect((await instance.call({ n: 1 })).value).toEqual({ given: { n: 1 } });
    expect((await instance.call({ returns: true })).value).toBe('returned');
    expect((await instance.call({ fails: true })).error).toMatchObject({ message: 'Error: told' });
    expect((await bench().once(node('asyncCallback'))).value).toBe('returned');
  });

  test('a Python handler may take more than two values, or be any callable', async () => {
    expect((await bench().once(python('any_number'))).value).toBe(2);
    expect((await bench().once(python('instance'))).value).toBe('called');
    expect((await bench().once(python('bound'))).value).toBe('called');
  });

  test('PYTHONUNBUFFERED has half a line out before the process ends', async () => {
    const { log } = await bench().once({ ...python('unbuffered'), env: { PYTHONUNBUFFERED: '1' } });
    expect(log.map(({ text }) => text)).toEqual(['half a line']);
  });

  test.for([
    [node('gcf'), 'an HTTP handler of (req, res), as Express and Google Cloud Functions have it'],
    [node('azure'), 'an Azure function of (context, req)'],
    [node('express'), 'an Express application'],
    [node('koa'), 'a Koa application'],
    [node('four'), 'a function of 4 parameters'],
    [python('handle'), 'a function of OpenFaaS or Google Cloud, which takes (req)'],
    [python('asgi'), 'an ASGI application'],
    [python('three'), 'a function that takes (event, context, more)'],
  ] as const)('what is made for another platform does not start: %o', async ([deployment, message]) => {
    await expect(bench().start(deployment)).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining(message),
    });
  });
}
