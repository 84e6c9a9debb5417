import type { Protocol } from '../contract/protocol.ts';
import { handlerProtocol } from './handler/handler-protocol.ts';
import { httpProtocol } from './http/http-protocol.ts';
import { stdioProtocol } from './stdio/stdio-protocol.ts';

/** The protocols that any runtime of programs can have: one line for each. */
export const PROGRAM_PROTOCOLS: readonly Protocol[] = [handlerProtocol, stdioProtocol, httpProtocol];
