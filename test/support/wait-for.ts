/**
 * Waits until a condition holds, looking again and again.
 * @throws Error that says what did not come, after `withinMs` (10 s by default)
 */
export async function waitFor<T>(
  look: () => T | Promise<T>,
  options: { what: string; withinMs?: number; everyMs?: number },
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = Date.now() + (options.withinMs ?? 10_000);
  for (;;) {
    const seen = await look();
    if (seen) return seen as NonNullable<Exclude<T, false>>;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${options.what}`);
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 10));
  }
}
