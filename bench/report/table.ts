import type { Goal, Row } from './row.ts';

const HEAD = '| measure | over | figure | range | goal | met | Pilum | floor |';
const LINE = '|---|---|---|---|---|---|---|---|';

/** Rows as a table in Markdown, which people can read as it is. */
export function tableOf(rows: readonly Row[]): string {
  return [HEAD, LINE, ...rows.map(lineOf)].join('\n');
}

function lineOf({ measure, over, median, lowest, highest, unit, goal, isMet, sides }: Row): string {
  const side = (value: number | undefined) => (value === undefined ? '' : withUnit(value, sides?.unit ?? null));
  const cells = [
    measure,
    over ?? '',
    withUnit(median, unit),
    lowest === highest ? '' : `${show(lowest)} to ${show(highest)}`,
    goal === null ? '' : showGoal(goal),
    isMet === null ? '' : isMet ? 'yes' : '**no**',
    side(sides?.pilum),
    side(sides?.floor),
  ];
  return `| ${cells.join(' | ')} |`;
}

function showGoal(goal: Goal): string {
  return 'atMost' in goal ? `≤ ${goal.atMost}` : `≥ ${goal.atLeast}`;
}

const withUnit = (value: number, unit: string | null) => (unit === null ? show(value) : `${show(value)} ${unit}`);

/** Three digits that count, and none of a large number's behind the point. */
function show(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
