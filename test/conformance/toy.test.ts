import { echoUnderTest } from './echo-under-test.ts';
import { runtimeConformance } from './runtime-conformance.ts';

runtimeConformance(echoUnderTest());
