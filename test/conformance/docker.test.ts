import { dockerUnderTest } from './docker-under-test.ts';
import { runtimeConformance } from './runtime-conformance.ts';

runtimeConformance(await dockerUnderTest());
