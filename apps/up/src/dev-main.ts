import { dev } from './dev/dev.ts';
import { SOURCES } from './dev/sources.ts';
import { runMain } from './run-main.ts';
import { PROGRAMS } from './up.ts';

await runMain(PROGRAMS, (options) => dev(options, SOURCES));
