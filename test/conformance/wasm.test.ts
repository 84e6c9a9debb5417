import { runtimeConformance } from './runtime-conformance.ts';
import { wasmUnderTest } from './wasm-under-test.ts';

runtimeConformance(await wasmUnderTest('wasmtime'));
runtimeConformance(await wasmUnderTest('v8'));
runtimeConformance(await wasmUnderTest('v8', 'none'));
