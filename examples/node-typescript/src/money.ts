export interface Line {
  readonly cents: number;
  readonly count: number;
}

export function totalOf(lines: readonly Line[]): number {
  return lines.reduce((sum, { cents, count }) => sum + cents * count, 0);
}

export function formatAmount(cents: number): string {
  return new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' }).format(cents / 100);
}
