import { type LogOf, logEvent } from '../log/log-events.ts';

/** Returns what a clock calls where this machine's time is not Redis's: it is logged, with what follows from it. */
export function saySkew(log: LogOf<'warn'>): (skewMs: number) => void {
  return (skewMs) => {
    if (skewMs === 0) logEvent(log, 'clock-agrees', { clockSkewMs: 0 });
    else {
      const seconds = Math.abs(Math.round(skewMs / 100) / 10);
      logEvent(
        log,
        'clock-skewed',
        { clockSkewMs: skewMs },
        `this machine's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} that of Redis, which all deadlines go by: what functions ` +
          'and other programs here take for the time is wrong until the machine is synchronized (NTP)',
      );
    }
  };
}
