import { join } from 'node:path';
import type { Places, Program } from '../../contract/program.ts';

/** Returns the program that starts a language's interpreter with its bootstrap, which then waits for code. */
export function handlerProgram(language: 'node' | 'python', memoryMiB: number): Program {
  return {
    kind: language,
    env: {},
    command: (places) => interpreterCommand(language, places, memoryMiB),
    stdin: 'ignore',
    channel: true,
  };
}

function interpreterCommand(language: 'node' | 'python', places: Places, memoryMiB: number): string[] {
  if (language === 'python') {
    // -I: nothing from the environment or the user's directories; -B: the code is read-only, so write no bytecode.
    return [places.python, '-I', '-B', join(places.bootstrapDirectory, 'python.py')];
  }
  return [
    places.node,
    `--max-old-space-size=${heapMiB(memoryMiB)}`,
    // A package.json is not asked of a function.
    '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
    join(places.bootstrapDirectory, 'node.mjs'),
  ];
}

/** Below the limit of the whole instance, so that V8 says it is out of memory before the kernel kills. */
function heapMiB(memoryMiB: number): number {
  return Math.floor(Math.max(memoryMiB / 2, memoryMiB - 96));
}
