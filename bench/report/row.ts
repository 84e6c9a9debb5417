import { median } from '../support/statistics.ts';

/** The bound of a figure, and the side of it that is well. */
export type Goal = { readonly atMost: number } | { readonly atLeast: number };

/** One line of the table. */
export interface Row {
  readonly measure: string;
  /** Name of what it is compared with; null for a figure that stands alone. */
  readonly over: string | null;
  /** Figure of each repeat. */
  readonly figures: readonly number[];
  /** Unit of the figures; null for a ratio. */
  readonly unit: string | null;
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly goal: Goal | null;
  /** Null where there is no goal. */
  readonly isMet: boolean | null;
  /** Medians of both sides as they were measured; null for a figure that stands alone. */
  readonly sides: { readonly pilum: number; readonly floor: number; readonly unit: string } | null;
}

interface Compared {
  readonly measure: string;
  readonly over: string;
  /** Unit of what was measured on both sides. */
  readonly unit: string;
  readonly pilum: readonly number[];
  readonly floor: readonly number[];
  readonly goal?: Goal;
}

/** Pilum's figure divided by the floor's, of samples that were taken side by side. */
export function ratioRow({ measure, over, unit, pilum, floor, goal }: Compared): Row {
  const figures = pilum.map((value, i) => value / (floor[i] ?? Number.NaN));
  return row({ measure, over, unit: null, figures, goal, sides: { pilum: median(pilum), floor: median(floor), unit } });
}

/** Pilum's figure less what it is compared with. */
export function differenceRow({ measure, over, unit, pilum, floor, goal }: Compared): Row {
  const figures = pilum.map((value, i) => value - (floor[i] ?? Number.NaN));
  return row({ measure, over, unit, figures, goal, sides: { pilum: median(pilum), floor: median(floor), unit } });
}

/** A figure that stands alone. */
export function plainRow(options: {
  readonly measure: string;
  readonly unit: string;
  readonly figures: readonly number[];
  readonly goal?: Goal;
}): Row {
  return row({ ...options, over: null, sides: null });
}

function row(given: Pick<Row, 'measure' | 'over' | 'unit' | 'figures' | 'sides'> & { goal?: Goal | undefined }): Row {
  const { goal = null, figures } = given;
  const middle = median(figures);
  return {
    ...given,
    median: middle,
    lowest: Math.min(...figures),
    highest: Math.max(...figures),
    goal,
    isMet: goal === null ? null : meets(middle, goal),
  };
}

function meets(value: number, goal: Goal): boolean {
  return 'atMost' in goal ? value <= goal.atMost : value >= goal.atLeast;
}
