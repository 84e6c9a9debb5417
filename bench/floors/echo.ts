/** The function that the floors run: JSON in, the same JSON out. */
export type Echo = (event: Buffer) => Promise<Buffer>;

/**
 * Makes an echo of several that calls the one that is free and was used last, as Pilum chooses among its instances: it is still in the processor's
 * caches. Of as many calls at once as there are echoes each finds one.
 */
export function mostRecentOf(echoes: readonly Echo[]): Echo {
  const free = [...echoes];
  return async (event) => {
    const echo = free.pop();
    if (echo === undefined) throw new Error('more calls at once than echoes');
    try {
      return await echo(event);
    } finally {
      free.push(echo);
    }
  };
}

/** In this process: parsed and written again, as any handler's event and result are. */
export const plainEcho: Echo = async (event) => Buffer.from(JSON.stringify(JSON.parse(event.toString('utf8'))));
