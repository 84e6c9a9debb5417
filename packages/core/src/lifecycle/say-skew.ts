/** The little of a logger that is needed here. */
interface SkewLog {
  warn(fields: object, message: string): void;
}

/** Returns what a clock calls where this machine's time is not Redis's: it is logged, with what follows from it. */
export function saySkew(log: SkewLog): (skewMs: number) => void {
  return (skewMs) => {
    if (skewMs === 0) log.warn({ clockSkewMs: 0 }, "this machine's clock agrees with that of Redis again");
    else {
      const seconds = Math.abs(Math.round(skewMs / 100) / 10);
      log.warn(
        { clockSkewMs: skewMs },
        `this machine's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} that of Redis, which all deadlines go by: what functions ` +
          'and other programs here take for the time is wrong until the machine is synchronized (NTP)',
      );
    }
  };
}
