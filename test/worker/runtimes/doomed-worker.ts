// A worker that runs one function until it is killed: started by process-runtime.test.ts.
import { pino } from 'pino';
import { createProcessRuntime } from '../../../apps/worker/src/runtimes/process/process-runtime.ts';
import { fill } from '../../conformance/snapshots.ts';

const [stagingDirectory = '', codeDirectory = '', isolation = '', marker = ''] = process.argv.slice(2);
const runtime = createProcessRuntime({
  isolation: isolation === 'none' ? 'none' : 'sandbox',
  stagingDirectory,
  nodePath: process.execPath,
  pythonPath: null,
  allowHostNetwork: false,
  killGraceMs: 500,
  freezeAfterMs: 10,
  prewarm: 0,
  workerId: 'doomed',
  logger: pino({ level: 'warn' }),
});
const signal = new AbortController().signal;
const handler = fill({ runtime: 'process', entry: 'leaves-daemon.mjs' });
const command = fill({ runtime: 'process', command: ['/bin/sh', '-c', `echo up >&2; sleep 1000 ${marker}`] });
const call = {
  taskId: 'test',
  attempt: 1,
  deadlineMs: Date.now() + 60_000,
  contentType: 'application/json',
  payload: Buffer.from(JSON.stringify({ marker })),
  headers: {},
  http: null,
  traceparent: null,
  chunks: null,
  progress: () => {},
  signal,
};
const quiet = { write: () => {} };
const instance = await runtime.start(
  { namespace: 'a', version: handler, codeDirectory, layers: [] },
  { instanceId: 'one', signal },
);
await instance.call({ ...call, log: quiet });
const second = await runtime.start(
  { namespace: 'a', version: command, codeDirectory, layers: [] },
  { instanceId: 'two', signal },
);
await second.call({ ...call, log: { write: () => console.log('up') } });
