import { plainEcho } from './echo.ts';
import { serveList } from './serve-list.ts';
import { untilTold } from './until-told.ts';

/** Floor (b0), worker side: as (b), but the work is done in this process. */
serveList(process.env.REDIS_PATH ?? '', Array(16).fill(plainEcho));
untilTold();
