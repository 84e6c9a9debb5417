import type { Snapshot } from '../../runtime.ts';
import type { LaunchedProcess } from '../launch.ts';
import type { Program } from '../launch-plan.ts';
import type { Launcher } from '../launcher.ts';
import { BridgedReach, type BridgeSockets, PORT_IN_SANDBOX } from './bridged-reach.ts';
import { DirectReach, freePort } from './direct-reach.ts';
import { HttpInstance } from './http-instance.ts';
import { bridgedProgram, serverProgram } from './http-program.ts';
import type { Reach } from './reach.ts';

/**
 * Starts a server and resolves when it is ready for a call.
 * @throws InstanceError `INSTANCE_START_FAILED`, RuntimeError `RUNTIME_UNAVAILABLE`; nothing is left then
 */
export async function startServer(
  launcher: Launcher,
  sockets: BridgeSockets,
  snapshot: Snapshot,
  options: { readonly instanceId: string; readonly signal: AbortSignal },
): Promise<HttpInstance> {
  const { limits } = snapshot.version.spec;
  const launch = async (program: Program) => {
    const wanted = { limits, codeDirectory: snapshot.codeDirectory, layers: snapshot.layers };
    return (await launcher.launch(wanted, program, options.instanceId)).process;
  };
  const isApart = launcher.isSandboxed && limits.network === 'none';
  const { launched, reach } = isApart
    ? await launchBridged(snapshot, sockets, launch)
    : await launchDirect(snapshot, launch);
  const instance = new HttpInstance(options.instanceId, snapshot, launched, reach);
  await instance.ready(options.signal);
  return instance;
}

type Launch = (program: Program) => Promise<LaunchedProcess>;

async function launchDirect(
  { version }: Snapshot,
  launch: Launch,
): Promise<{ launched: LaunchedProcess; reach: Reach }> {
  const port = await freePort();
  return { launched: await launch(serverProgram(version, port)), reach: new DirectReach(port) };
}

async function launchBridged(
  { version }: Snapshot,
  sockets: BridgeSockets,
  launch: Launch,
): Promise<{ launched: LaunchedProcess; reach: Reach }> {
  const socket = await sockets.open();
  try {
    const launched = await launch(bridgedProgram(serverProgram(version, PORT_IN_SANDBOX), socket.descriptor));
    socket.handedOver();
    if (launched.channel === null) throw new Error('a bridge needs a channel');
    return { launched, reach: new BridgedReach(socket, launched.channel) };
  } catch (error) {
    await socket.remove();
    throw error;
  }
}
