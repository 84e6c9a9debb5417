import { plainEcho } from './echo.ts';
import { serveList } from './serve-list.ts';
import { untilTold } from './until-told.ts';

const CONNECTIONS = 16;

/** Floor (b0), worker side: as (b), but the work is done in this process. */
serveList(process.env.REDIS_PATH ?? '', plainEcho, CONNECTIONS);
untilTold();
