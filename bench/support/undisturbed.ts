import { processorTimes } from './proc.ts';

/** A sample during which the host took more than this share of the processor is taken again. */
const MAX_STOLEN = 0.06;
/** After so many times it counts as it is: this host gives no more. */
const MAX_TRIES = 6;

/** Takes a sample, and takes it again where the host took too much of the processor meanwhile. */
export async function undisturbed<T>(take: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    const before = processorTimes();
    const taken = await take();
    const after = processorTimes();
    const stolen = (after.stolen - before.stolen) / Math.max(1, after.total - before.total);
    if (stolen <= MAX_STOLEN) return taken;
    const what = `the host took ${(stolen * 100).toFixed(0)} % of the processor`;
    if (tries === MAX_TRIES) {
      console.error(`  (${what}, ${MAX_TRIES} times in a row: the sample counts as it is)`);
      return taken;
    }
    console.error(`  (again: ${what})`);
  }
}
