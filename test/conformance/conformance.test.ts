import { dockerUnderTest } from './docker-under-test.ts';
import { echoUnderTest } from './echo-under-test.ts';
import { processUnderTest } from './process-under-test.ts';
import { runtimeConformance } from './runtime-conformance.ts';
import { wasmUnderTest } from './wasm-under-test.ts';

// Every runtime that there is: a new one is one line here.
const RUNTIMES = [
  await processUnderTest('sandbox'),
  await processUnderTest('sandbox', { prewarm: 1 }),
  await processUnderTest('none'),
  await processUnderTest('none', { prewarm: 1 }),
  echoUnderTest(),
  await dockerUnderTest(),
  await wasmUnderTest('wasmtime'),
  await wasmUnderTest('v8'),
  await wasmUnderTest('v8', 'none'),
];

for (const runtime of RUNTIMES) runtimeConformance(runtime);
