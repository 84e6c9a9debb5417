import { missingWalls } from '@pilum/core/spec/walls.ts';

/** Longest time that the API may take to say it, ms: it is a line on a screen. */
const LIMIT_MS = 2000;

/** The part of a worker's description that is read here. */
interface SaidByWorker {
  readonly runtimes: readonly {
    readonly kind: string;
    readonly available: boolean;
    readonly walls?: Readonly<Record<string, string | null>>;
    readonly interpreters?: readonly {
      readonly name: string;
      readonly version: string;
      readonly isDefault?: boolean;
    }[];
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

/** One line that names the interpreters that functions can run on, the default ones with their versions; null where there are none. */
export function interpretersLine(workers: readonly SaidByWorker[]): string | null {
  const all = workers.flatMap(({ runtimes }) => runtimes.flatMap(({ interpreters = [] }) => interpreters));
  const usual = new Set(
    all.filter(({ isDefault }) => isDefault === true).map(({ name, version }) => `${name} (${version})`),
  );
  const others = new Set(all.filter(({ isDefault }) => isDefault !== true).map(({ name }) => name));
  if (usual.size === 0) return null;
  return (
    [...usual].join(', ') +
    (others.size === 0 ? '' : `; where a spec names it (interpreter): ${[...others].join(', ')}`)
  );
}

/** The lines of the screen that workers say; null for one that has nothing to say. */
export interface WorkerLines {
  readonly walls: string | null;
  readonly interpreters: string | null;
}

/** Asks the API what its workers say; null for all where it does not answer. */
export async function askWorkers(
  address: string,
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<WorkerLines> {
  try {
    const response = await fetch(`${address}/v1/workers`, {
      headers: apiKey === undefined || apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
    });
    const { workers = [] } = response.ok ? ((await response.json()) as { workers: SaidByWorker[] }) : {};
    return { walls: wallsLine(workers), interpreters: interpretersLine(workers) };
  } catch {
    // Whoever asks the API hears what is wrong with it.
    return { walls: null, interpreters: null };
  }
}
