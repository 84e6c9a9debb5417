import { startSandboxedEchoes } from './sandboxed-echo.ts';
import { serveList } from './serve-list.ts';
import { untilTold } from './until-told.ts';

/** Floor (b), worker side: sixteen connections that block on the list, each with a sandboxed child of its own. */
const { echoes, close } = await startSandboxedEchoes(process.env.DATA ?? '');
serveList(process.env.REDIS_PATH ?? '', echoes);
untilTold(close);
