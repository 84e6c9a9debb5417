import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from 'prom-client';

/** Interval of the measurement, ms; the default of 10 ms would keep waking an idle process. */
const RESOLUTION_MS = 100;

const FIGURES = {
  min: { help: 'Least', of: (delay: Delay) => delay.min },
  max: { help: 'Greatest', of: (delay: Delay) => delay.max },
  mean: { help: 'Mean', of: (delay: Delay) => delay.mean },
  p50: { help: 'Median', of: (delay: Delay) => delay.percentile(50) },
  p90: { help: '90th percentile of the', of: (delay: Delay) => delay.percentile(90) },
  p99: { help: '99th percentile of the', of: (delay: Delay) => delay.percentile(99) },
} as const;

type Delay = ReturnType<typeof monitorEventLoopDelay>;

/**
 * Shows by how much timers of this process were late since the last scrape. Node measures the time between two ticks of its timer; the
 * interval is subtracted, or an idle process would seem to hang.
 */
export function showEventLoopLag(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const gauges = Object.entries(FIGURES).map(([name, { help, of }]) => ({
    of,
    gauge: new Gauge({
      name: `nodejs_eventloop_lag_${name}_seconds`,
      help: `${help} lateness of timers since the page was read before.`,
      registers: [],
    }),
  }));
  const isEmpty = () => delay.count === 0;
  for (const [index, { gauge, of }] of gauges.entries()) {
    // The last gauge to be read starts the next period.
    const isLast = index === gauges.length - 1;
    (gauge as unknown as { collect: () => void }).collect = () => {
      gauge.set(isEmpty() ? 0 : Math.max(0, of(delay) / 1e9 - RESOLUTION_MS / 1e3));
      if (isLast) delay.reset();
    };
    registry.registerMetric(gauge);
  }
}
