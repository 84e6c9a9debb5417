import { join } from 'node:path';
import type { Language } from '@pilum/core/spec/languages.ts';
import type { Places, Program } from '../../contract/program.ts';
import { limitsHeap, speaksToPython } from './startup-environment.ts';

/**
 * Returns the program that starts a language's interpreter with its bootstrap, which then waits for code.
 * @param env what the interpreter itself is to see of a version's variables; the bootstrap is told all of them later
 */
export function handlerProgram(
  language: Language,
  memoryMiB: number,
  env: Readonly<Record<string, string>> = {},
): Program {
  return {
    kind: language,
    env,
    command: (places) => interpreterCommand(language, places, memoryMiB, { ...places.environment, ...env }),
    stdin: 'ignore',
    channel: true,
  };
}

function interpreterCommand(
  language: Language,
  places: Places,
  memoryMiB: number,
  env: Readonly<Record<string, string>>,
): string[] {
  if (language === 'python') {
    // -I: nothing from the environment or the user's directories, where the function has not asked for it;
    // -B: the code is read-only, so write no bytecode.
    const flags = speaksToPython(env) ? ['-B'] : ['-I', '-B'];
    return [places.python, ...flags, join(places.bootstrapDirectory, 'python.py')];
  }
  return [
    places.node,
    ...(limitsHeap(env) ? [] : [`--max-old-space-size=${heapMiB(memoryMiB)}`]),
    // A package.json is not asked of a function.
    '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
    join(places.bootstrapDirectory, 'node.mjs'),
  ];
}

/** Returns a heap below the limit of the whole instance, so that V8 says it is out of memory before the kernel kills. */
function heapMiB(memoryMiB: number): number {
  return Math.floor(Math.max(memoryMiB / 2, memoryMiB - 96));
}
