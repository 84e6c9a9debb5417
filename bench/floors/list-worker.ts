import { INSTANCES, startSandboxedEcho } from './sandboxed-echo.ts';
import { serveList } from './serve-list.ts';
import { untilTold } from './until-told.ts';

/** Floor (b), worker side: sixteen connections that block on the list, and as many sandboxed children. */
const { echo, close } = await startSandboxedEcho(process.env.DATA ?? '');
serveList(process.env.REDIS_PATH ?? '', echo, INSTANCES);
untilTold(close);
