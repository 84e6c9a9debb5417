const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The durations that {@link parseDuration} reads, as a pattern for JSON Schema. */
export const DURATION_PATTERN = '^[0-9]{1,12}(\\.[0-9]{1,3})?(ms|s|m|h|d)?$';

export const DURATION_FORM = 'a duration such as 500ms, 20s, 5m, 1h or 8d; a bare number is milliseconds';

/** Parses `500ms`, `1.5s`, `20s`, `5m`, `1h`, `8d` or a bare number of ms; null for anything else. */
export function parseDuration(text: string): number | null {
  const [, number = '', unit = 'ms'] = /^([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  return number === '' ? null : Math.round(Number(number) * (UNITS[unit] ?? 1));
}

/** Formats a duration as a person would write it. */
export function durationText(ms: number): string {
  const unit = ['d', 'h', 'm', 's'].find((one) => ms >= (UNITS[one] ?? 1) && ms % (UNITS[one] ?? 1) === 0) ?? 'ms';
  return `${ms / (UNITS[unit] ?? 1)} ${unit}`;
}
