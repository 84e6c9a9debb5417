/**
 * The time of all processes that share a Redis, which is that of its clock. A moment that one process writes and another compares with its
 * own now (when a task was accepted, is due, may wait until; when a worker was seen) is of this time and no other. Machines whose
 * clocks are minutes apart then agree.
 *
 * A process has one Redis, and so one such time: {@link RedisClock} measures it.
 */
let offsetMs: number | null = null;

/** A measurement that took longer is passed over where it does not contradict the one that is known, ms. */
const GOOD_ROUND_TRIP_MS = 20;

/** The shared time, whole ms since 1970, which is never ahead of Redis's; that of this machine until it was measured. */
export function sharedNow(): number {
  return offsetMs === null ? Date.now() : Math.floor(performance.now() + offsetMs);
}

/** Returns how far this machine's clock is ahead of the shared time, ms; null until that was measured. */
export function clockSkewMs(): number | null {
  return offsetMs === null ? null : Math.round(Date.now() - (performance.now() + offsetMs));
}

/**
 * Sets the shared time by a measurement, as if the answer had taken no time to come: it is then behind Redis's by the way of one answer, and
 * never ahead. So a task that was accepted before its artifact was deleted has the lesser time, and one that was accepted afterwards, by
 * someone who had the answer to the deletion, the greater.
 * @param redisMs what Redis has said
 * @param receivedAt when that came, on this process's monotonic clock
 */
export function setSharedTime(redisMs: number, receivedAt: number, roundTripMs: number): void {
  const measured = redisMs - receivedAt;
  // What took long says little, but more than a machine's own clock, which may be hours off.
  const contradicts = offsetMs === null || measured > offsetMs || measured < offsetMs - roundTripMs;
  if (roundTripMs <= GOOD_ROUND_TRIP_MS || contradicts) offsetMs = measured;
}
