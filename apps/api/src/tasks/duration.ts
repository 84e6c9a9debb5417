const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export const DURATION_FORM = 'a duration such as 500ms, 20s, 5m or 1h; a bare number is milliseconds';

/** Reads `500ms`, `1.5s`, `20s`, `5m`, `1h` or a bare number of ms; null for anything else. */
export function parseDuration(text: string): number | null {
  const [, number = '', unit = 'ms'] = /^([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h)?$/.exec(text) ?? [];
  return number === '' ? null : Math.round(Number(number) * (UNITS[unit] ?? 1));
}
