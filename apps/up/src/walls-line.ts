import { missingWalls } from '@pilum/core/spec/walls.ts';

/** How long the API may take to say it, ms: it is a line on a screen. */
const LIMIT_MS = 2000;

/** The part of a worker's description that is read here. */
interface SaidByWorker {
  readonly runtimes: readonly {
    readonly kind: string;
    readonly available: boolean;
    readonly walls?: Readonly<Record<string, string | null>>;
  }[];
}

/** One line that names the walls that are not in force around functions, by runtime; null where all of them are. */
export function wallsLine(workers: readonly SaidByWorker[]): string | null {
  const missing = new Map<string, Set<string>>();
  for (const { kind, available, walls } of workers.flatMap(({ runtimes }) => runtimes)) {
    if (!available || walls === undefined) continue;
    for (const { wall } of missingWalls(walls)) missing.set(kind, (missing.get(kind) ?? new Set()).add(wall));
  }
  if (missing.size === 0) return null;
  const all = [...missing].map(([kind, names]) => `${kind} without ${[...names].join(', ')}`);
  return `incomplete: ${all.join('; ')} (GET /v1/workers says why)`;
}

/** Asks the API which walls are not in force; null where all of them are, and where it does not say. */
export async function askForWalls(
  address: string,
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const response = await fetch(`${address}/v1/workers`, {
      headers: apiKey === undefined || apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
    });
    if (!response.ok) return null;
    return wallsLine(((await response.json()) as { workers: SaidByWorker[] }).workers);
  } catch {
    // Whoever asks the API hears what is wrong with it.
    return null;
  }
}
