import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { TestInstance } from '../../conformance/runtime-under-test.ts';
import { fill } from '../../conformance/snapshots.ts';
import { linesProtocol } from '../../fixtures/protocols/lines/lines-protocol.ts';
import { EchoRuntime } from '../../fixtures/runtimes/echo/echo-runtime.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

test('a protocol of one file is spoken by a runtime that knows nothing of it', async () => {
  const stagingDirectory = temporaryDirectory();
  const runtime = new EchoRuntime({
    protocols: [linesProtocol],
    stagingDirectory,
    nodePath: process.execPath,
    pythonPath: '',
  });
  const version = fill({
    runtime: 'process',
    protocol: 'stdio',
    command: ['/bin/sh', '-c', 'while read l; do echo "<$l>"; done'],
  });
  const runnable = {
    namespace: 'default',
    version: { ...version, spec: { ...version.spec, protocol: linesProtocol.name } },
    codeDirectory: null,
    layers: [],
  };
  const options = { instanceId: randomUUID(), signal: new AbortController().signal };
  const instance = new TestInstance(await runtime.start(runnable, options));

  expect((await instance.call('one')).value).toBe('<"one">');
  expect((await instance.call('two')).value).toBe('<"two">');
  await runtime.close();
  expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
});

test('a version whose protocol the runtime does not have is refused by name', async () => {
  const runtime = new EchoRuntime({
    stagingDirectory: temporaryDirectory(),
    nodePath: process.execPath,
    pythonPath: '',
  });
  const version = fill({ runtime: 'process', protocol: 'http', command: ['server'] });
  const runnable = { namespace: 'default', version, codeDirectory: null, layers: [] };
  const starting = runtime.start(runnable, { instanceId: randomUUID(), signal: new AbortController().signal });
  await expect(starting).rejects.toMatchObject({ code: 'NOT_IMPLEMENTED', message: expect.stringContaining('http') });
});
