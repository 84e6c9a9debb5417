/** Longest time that an idle instance may take to answer, ms. It has nothing else to do. */
const ANSWER_WITHIN_MS = 1000;
/** So many asks in a row that had no answer make an instance sick. */
const SILENT_ASKS = 2;
/** No instance is asked more often than this in one round. */
const MOST_ASKS = 4;
/** Delay of the end of an ask, ms, above which this process was held up, and the instance may have been as well. */
const LATE_MS = 250;

/**
 * Whether an idle instance is to be replaced: it did not answer, was asked again and did not answer. An ask during which
 * the machine was held up says nothing; where there are only such, the instance is left alone.
 * @param check asks the instance; false where there was no answer within so many ms
 * @param now a clock that never goes back, ms
 */
export async function isSick(
  check: (withinMs: number) => Promise<boolean>,
  now: () => number = () => performance.now(),
): Promise<boolean> {
  let silent = 0;
  for (let asked = 0; asked < MOST_ASKS && silent < SILENT_ASKS; asked++) {
    const since = now();
    if (await check(ANSWER_WITHIN_MS)) return false;
    if (now() - since <= ANSWER_WITHIN_MS + LATE_MS) silent++;
  }
  return silent === SILENT_ASKS;
}
