import { DEFAULT_LANGUAGE, handlerEntry } from '@pilum/core/spec/languages.ts';
import type { Protocol } from '../../contract/protocol.ts';
import { variablesOf } from '../../contract/task-environment.ts';
import { HandlerInstance } from './handler-instance.ts';
import { handlerProgram } from './handler-program.ts';
import { startupEnvironment } from './startup-environment.ts';

const MEBIBYTE = 1024 * 1024;

/** An interpreter with a handler loaded, which answers one call after another over a channel of frames. */
export const handlerProtocol: Protocol = {
  name: 'handler',

  problemOf({ codeDirectory }) {
    return codeDirectory === null ? 'A handler needs code, and this version has none.' : null;
  },

  async start({ runnable, instanceId, host, signal }) {
    const { spec, code } = runnable.version;
    const language = spec.language ?? DEFAULT_LANGUAGE;
    const launched = await host.launch(
      handlerProgram(language, spec.limits.memoryMiB, startupEnvironment(language, spec.env) ?? {}),
      signal,
    );
    const { process, places, environment } = launched;
    const instance = new HandlerInstance(instanceId, runnable, process);
    await instance.load(
      {
        entry: spec.entry ?? code?.fileName ?? handlerEntry(language, undefined),
        env: { ...environment, ...variablesOf(runnable) },
        codeDirectory: places.codeDirectory ?? '',
        layers: places.layers.map(({ directory }) => directory),
        limits: { outputBytes: spec.limits.outputMiB * MEBIBYTE },
      },
      signal,
    );
    return instance;
  },
};
