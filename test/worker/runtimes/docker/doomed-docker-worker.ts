// A worker that has two containers until it is killed: started by orphans.test.ts.
import { pino } from 'pino';
import { createDockerRuntime } from '../../../../apps/worker/src/runtimes/docker/docker-runtime.ts';
import { fill } from '../../../conformance/snapshots.ts';
import { ENGINE_HOST, IMAGES, pinned } from '../../../support/docker.ts';

const [stagingDirectory = '', codeDirectory = '', workerId = ''] = process.argv.slice(2);
const runtime = createDockerRuntime({
  host: ENGINE_HOST,
  stagingDirectory,
  stagingOfEngine: null,
  presence: null,
  allowHostNetwork: false,
  allowRoot: false,
  ociRuntime: null,
  credentialsFile: null,
  pull: 'missing',
  freezeAfterMs: 10,
  pauseAfterMs: 0,
  networks: async () => null,
  killGraceMs: 500,
  workerId,
  logger: pino({ level: 'warn' }),
});
const signal = new AbortController().signal;
const handler = { ...fill({ runtime: 'docker', entry: 'leaves-daemon.mjs' }), image: await pinned(IMAGES.node) };
const command = {
  ...fill({ runtime: 'docker', command: ['/bin/sh', '-c', 'echo up >&2; trap "" TERM; sleep 1000'] }),
  image: await pinned(IMAGES.debian),
};
const call = {
  taskId: 'test',
  attempt: 1,
  deadlineMs: Date.now() + 60_000,
  contentType: 'application/json',
  payload: Buffer.from('{"marker":"31415"}'),
  headers: {},
  traceparent: null,
  http: null,
  signal,
  chunks: null,
  progress: () => {},
};
const one = await runtime.start(
  { namespace: 'a', version: handler, codeDirectory, layers: [] },
  { instanceId: `${workerId}-1`, signal },
);
await one.call({ ...call, log: { write: () => {} } });
const two = await runtime.start(
  { namespace: 'a', version: command, codeDirectory, layers: [] },
  { instanceId: `${workerId}-2`, signal },
);
await two.call({ ...call, log: { write: () => console.log('up') } });
