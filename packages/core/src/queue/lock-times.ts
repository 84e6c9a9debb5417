/** A lock is what tells a dead worker's job from a running one: it outlives its worker by so long, ms. */
export const LOCK_DURATION_MS = 5000;
export const LOCK_RENEWAL_MS = 1500;
