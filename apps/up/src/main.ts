import { runMain } from './run-main.ts';
import { PROGRAMS } from './up.ts';

await runMain(PROGRAMS);
