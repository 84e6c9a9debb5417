import { builtProtocols, type RuntimeKind } from '@pilum/core/spec/runtimes.ts';
import type { Protocol } from '../contract/protocol.ts';
import { handlerProtocol } from './handler/handler-protocol.ts';
import { httpProtocol } from './http/http-protocol.ts';
import { stdioProtocol } from './stdio/stdio-protocol.ts';

/** The protocols that any runtime of programs can have: one line for each. */
const PROGRAM_PROTOCOLS: readonly Protocol[] = [handlerProtocol, stdioProtocol, httpProtocol];

/** Those of a runtime of programs, as its table says. */
export function protocolsOf(kind: RuntimeKind): Protocol[] {
  const built: readonly string[] = builtProtocols(kind);
  return PROGRAM_PROTOCOLS.filter(({ name }) => built.includes(name));
}
