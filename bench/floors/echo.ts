/** What the floors run: JSON in, the same JSON out. */
export type Echo = (event: Buffer) => Promise<Buffer>;

/** In this process: parsed and written again, as any handler's event and result are. */
export const plainEcho: Echo = async (event) => Buffer.from(JSON.stringify(JSON.parse(event.toString('utf8'))));
