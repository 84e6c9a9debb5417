import { processUnderTest } from './process-under-test.ts';
import { runtimeConformance } from './runtime-conformance.ts';

runtimeConformance(await processUnderTest('none'));
