import type { RunnableVersion } from '../contract/runtime.ts';
import { BridgedDialer, type BridgeSockets, PORT_IN_SANDBOX } from '../protocols/http/bridged-dialer.ts';
import type { Dialer } from '../protocols/http/dialer.ts';
import { DirectDialer, freePort } from '../protocols/http/direct-dialer.ts';
import { HttpInstance } from '../protocols/http/http-instance.ts';
import { bridgedProgram, serverProgram } from '../protocols/http/http-program.ts';
import type { LaunchedProcess } from '../sandbox/launch.ts';
import type { Program } from '../sandbox/launch-plan.ts';
import type { Launcher } from '../sandbox/launcher.ts';

/**
 * Starts a server and resolves when it is ready for a call.
 * @throws InstanceError `INSTANCE_START_FAILED`, RuntimeError `RUNTIME_UNAVAILABLE`; nothing is left then
 */
export async function startServer(
  launcher: Launcher,
  sockets: BridgeSockets,
  runnable: RunnableVersion,
  options: { readonly instanceId: string; readonly signal: AbortSignal },
): Promise<HttpInstance> {
  const { limits } = runnable.version.spec;
  const launch = async (program: Program) => {
    const wanted = { limits, codeDirectory: runnable.codeDirectory, layers: runnable.layers };
    return (await launcher.launch(wanted, program, options.instanceId)).process;
  };
  const isApart = launcher.isSandboxed && limits.network === 'none';
  const { launched, dialer } = isApart
    ? await launchBridged(runnable, sockets, launch)
    : await launchDirect(runnable, launch);
  const instance = new HttpInstance(options.instanceId, runnable, launched, dialer);
  await instance.ready(options.signal);
  return instance;
}

type Launch = (program: Program) => Promise<LaunchedProcess>;

async function launchDirect(
  { version }: RunnableVersion,
  launch: Launch,
): Promise<{ launched: LaunchedProcess; dialer: Dialer }> {
  const port = await freePort();
  return { launched: await launch(serverProgram(version, port)), dialer: new DirectDialer(port) };
}

async function launchBridged(
  { version }: RunnableVersion,
  sockets: BridgeSockets,
  launch: Launch,
): Promise<{ launched: LaunchedProcess; dialer: Dialer }> {
  const socket = await sockets.open();
  try {
    const launched = await launch(bridgedProgram(serverProgram(version, PORT_IN_SANDBOX), socket.descriptor));
    socket.handedOver();
    if (launched.channel === null) throw new Error('a bridge needs a channel');
    return { launched, dialer: new BridgedDialer(socket, launched.channel) };
  } catch (error) {
    await socket.remove();
    throw error;
  }
}
