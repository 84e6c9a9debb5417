import { duplexPair, PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { LaunchedProcess } from '../../../../apps/worker/src/runtimes/contract/launched-process.ts';
import { Compiler } from '../../../../apps/worker/src/runtimes/wasm/compiler.ts';
import { ENGINE_FRAMES, writeFrame } from '../../../../apps/worker/src/runtimes/wasm/engine/wire.ts';
import { Turns } from '../../../../apps/worker/src/runtimes/wasm/turns.ts';

/** A compiler whose processes answer as the test says; it counts them. */
function scripted(
  answer: (path: string, reply: (type: 'made' | 'refused', text: string) => void) => void,
  oomKills = 0,
) {
  let processes = 0;
  const compiler = new Compiler({
    turns: new Turns(1),
    limitMs: 100,
    launch: () => {
      processes++;
      const [channel, other] = duplexPair();
      const ended = Promise.withResolvers<{ exitCode: number | null; signal: string | null; oomKills?: number }>();
      other.on('data', (frame: Buffer) => {
        const [, path = ''] = /"path":"([^"]+)"/.exec(frame.toString('latin1')) ?? [];
        if (path === 'dies') ended.resolve({ exitCode: null, signal: 'SIGKILL', oomKills });
        answer(path, (type, text) => {
          if (type === 'made') writeFrame(other, ENGINE_FRAMES.RESULT, { id: 1, kind: 'ok' }, Buffer.from(text));
          else writeFrame(other, ENGINE_FRAMES.FAILED, { id: 1, message: text });
        });
      });
      return Promise.resolve({
        stdin: null,
        stdout: new PassThrough(),
        stderr: new PassThrough(),
        channel,
        ended: ended.promise,
        terminate: () => ended.resolve({ exitCode: null, signal: 'SIGKILL' }),
      } satisfies LaunchedProcess);
    },
  });
  opened.push(compiler);
  return { compiler, processes: () => processes };
}

const opened: Compiler[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((compiler) => compiler.close()));
});

describe('the compiler', () => {
  it('compiles one module after the other, in one process', async () => {
    const { compiler, processes } = scripted((path, reply) => reply('made', `${path}, compiled`));
    const made = await Promise.all(['a', 'b', 'c'].map((path) => compiler.compile(path)));
    expect(made.map(String)).toEqual(['a, compiled', 'b, compiled', 'c, compiled']);
    expect(processes()).toBe(1);
  });

  it('says what is wrong with a module, and goes on', async () => {
    const { compiler, processes } = scripted((path, reply) =>
      path === 'bad' ? reply('refused', 'at offset 7: no such type') : reply('made', path),
    );
    await expect(compiler.compile('bad')).rejects.toThrow('at offset 7: no such type');
    expect(String(await compiler.compile('good'))).toBe('good');
    expect(processes()).toBe(1);
  });

  it('kills a process that takes too long over a module, and the next module gets another', async () => {
    const { compiler, processes } = scripted((path, reply) => {
      if (path !== 'endless') reply('made', path);
    });
    const endless = expect(compiler.compile('endless')).rejects.toThrow('takes longer than 0.1 s');
    const next = compiler.compile('next');
    await endless;
    expect(String(await next)).toBe('next');
    expect(processes()).toBe(2);
  });

  it('survives a process that dies', async () => {
    const { compiler } = scripted((path, reply) => path !== 'dies' && reply('made', path));
    await expect(compiler.compile('dies')).rejects.toThrow('signal SIGKILL');
    expect(String(await compiler.compile('next'))).toBe('next');
  });

  it('says where a module takes too much memory', async () => {
    const { compiler } = scripted(() => undefined, 1);
    await expect(compiler.compile('dies')).rejects.toThrow('takes too much memory');
  });

  it('is closed twice, and compiles no more', async () => {
    const { compiler } = scripted((path, reply) => reply('made', path));
    await compiler.compile('a');
    await Promise.all([compiler.close(), compiler.close()]);
    await expect(compiler.compile('b')).rejects.toThrow('stopping');
  });
});
