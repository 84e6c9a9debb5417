import { expect, test } from 'vitest';
import type { Bench, Deployment } from './runtime-under-test.ts';

const shell = (script: string, more: Deployment = {}): Deployment => ({ command: ['/bin/sh', '-c', script], ...more });

/** Any command: payload on stdin, result on stdout, log on stderr, one process a task. */
export function stdioContract(bench: () => Bench): void {
  test('a command gets the payload on stdin and answers on stdout', async () => {
    const answer = await bench().once({ command: ['tr', 'a-z', 'A-Z'] }, 'shout');
    expect(answer).toMatchObject({ ok: true, contentType: 'application/json', value: 'SHOUT' });
  });

  test('a command of the machine needs no code', async () => {
    expect((await bench().once({ command: ['cat'], withoutCode: true }, { a: [1] })).value).toEqual({ a: [1] });
  });

  test('a result is JSON, text or bytes by what it is', async () => {
    const typeOf = async (script: string) => (await bench().once(shell(script))).contentType;
    expect(await typeOf('echo "[1, 2]"')).toBe('application/json');
    expect(await typeOf('echo hello')).toBe('text/plain; charset=utf-8');
    expect(await typeOf("printf '\\377\\000'")).toBe('application/octet-stream');
    expect(await typeOf(':')).toBe('text/plain; charset=utf-8');
  });

  test.for([
    'cat /dev/stdin',
    'sleep 0.2; cat /dev/fd/0',
    'cat >/dev/stdout',
    'tee /dev/stderr',
    'sort -o /dev/stdout /dev/stdin',
  ])('a command can open its streams by their names: %s', async (script) => {
    expect(String((await bench().once(shell(script), 'hello')).value).trim()).toBe('hello');
  });

  test('a large payload comes through whole', async () => {
    const instance = await bench().start({ command: ['wc', '-c'] });
    const answer = await instance.call(null, { payload: Buffer.alloc(6 * 1024 * 1024, 1) });
    expect(answer.value).toBe(6 * 1024 * 1024);
  });

  test('a command that does not read its payload does no harm', async () => {
    const instance = await bench().start(shell('echo done'));
    expect((await instance.call(null, { payload: Buffer.alloc(4 * 1024 * 1024, 1) })).value).toBe('done\n');
  });

  test('what a command says on stderr is the log', async () => {
    const { value, log } = await bench().once(shell('echo one >&2; echo result; echo two >&2; printf three >&2'));
    expect(value).toBe('result\n');
    expect(log.map(({ stream, text }) => [stream, text])).toEqual([
      ['stderr', 'one'],
      ['stderr', 'two'],
      ['stderr', 'three'],
    ]);
  });

  test('an exit code other than 0 is FUNCTION_FAILED with the code and the last lines', async () => {
    const { error } = await bench().once(shell('echo "no such table" >&2; exit 7'));
    expect(error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: 'The command ended with exit code 7.',
      details: { exitCode: 7, signal: null, stderr: 'no such table' },
    });
    expect((await bench().once(shell('kill -SEGV $$'))).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      details: { exitCode: null, signal: 'SIGSEGV' },
    });
  });

  test('a command that does not exist is said to be missing', async () => {
    expect((await bench().once({ command: ['no-such-command'] })).error).toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: 'There is no command no-such-command in the sandbox.',
    });
    expect((await bench().once({ command: ['/etc/passwd'] })).error).toMatchObject({ code: 'INSTANCE_START_FAILED' });
  });

  test.for([
    ['surely-no-such-program', 127],
    ['echo before >&2; surely-no-such-program', 127],
    ['exit 127', 127],
    ['exit 126', 126],
    ['/etc/passwd', 126],
    ['exec surely-no-such-program', 127],
  ] as const)('what a command has called and did not find is its own failure: %s', async ([script, exitCode]) => {
    const { error } = await bench().once(shell(script));
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { exitCode } });
  });

  test('a command that does not exist is said to be missing with variables for the loader as well', async () => {
    const { error } = await bench().once({ command: ['no-such-command'], env: { LD_LIBRARY_PATH: '/code/lib' } });
    expect(error).toMatchObject({ code: 'INSTANCE_START_FAILED' });
  });

  test('a command sees its task, its spec and little else in its environment', async () => {
    const { value } = await bench().once(shell('env; pwd', { env: { LEVEL: 'debug', LD_LIBRARY_PATH: '/code/lib' } }));
    const lines = String(value).trim().split('\n');
    expect(lines.at(-1)).toMatch(/\/code(\/test)?$/);
    expect(lines).toContain('LEVEL=debug');
    expect(lines).toContain('LD_LIBRARY_PATH=/code/lib');
    expect(lines).toContain('PILUM_TASK_ID=test.01J8ZQ5V7N3K4M6P8R9S0T1V2W');
    expect(lines).toContain('PILUM_ATTEMPT=1');
    const names = lines.slice(0, -1).map((line) => line.split('=')[0] ?? '');
    expect(names.filter((name) => !name.startsWith('PILUM_')).sort()).toEqual(
      expect.arrayContaining(['HOME', 'LANG', 'LD_LIBRARY_PATH', 'LEVEL', 'PATH']),
    );
    expect(names).not.toContain('WORKERS_SECRET');
  });

  test('a result above limits.outputMiB is OUTPUT_TOO_LARGE, and the command is ended', async () => {
    const instance = await bench().start({ command: ['yes'], limits: { outputMiB: 1 } });
    await expect(instance.call({})).rejects.toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
    expect(await instance.instance.ended).toMatchObject({ signal: 'SIGKILL' });
  });

  test('one instance runs one task', async () => {
    const instance = await bench().start({ command: ['cat'] });
    expect(instance.instance.reusable).toBe(false);
    await instance.call({});
    await expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
  });

  test('stopping an instance ends its command', async () => {
    const instance = await bench().start(shell('echo running >&2; exec sleep 1000'));
    const call = expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await expect.poll(() => instance.log.length).toBe(1);
    await instance.stop();
    await call;
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', signal: 'SIGTERM' });
  });

  test('an instance that was never called can be stopped', async () => {
    const instance = await bench().start({ command: ['cat'] });
    await instance.stop();
    await instance.stop();
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
  });
}
