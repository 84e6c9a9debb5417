import { prettyFactory } from 'pino-pretty';

/**
 * Makes the JSON lines of the parts' logs readable, and leaves every other line as it is, but for what would command the terminal:
 * a line may quote what a stranger has sent.
 */
export function prettyLine(colour: boolean): (line: string) => string {
  const pretty = prettyFactory({ colorize: colour, translateTime: 'HH:MM:ss', ignore: 'pid,hostname,name,event' });
  return (line) => {
    const entry = entryIn(line);
    return entry === null ? visible(line) : pretty(entry).trimEnd();
  };
}

/** Reads a line of JSON; null where it is none. */
function entryIn(line: string): object | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line, (_key, value: unknown) => (typeof value === 'string' ? visible(value) : value)) as object;
  } catch {
    return null;
  }
}

/** The characters that terminals obey, but for tabs and the ends of lines, as pictures of themselves. */
function visible(text: string): string {
  return text.replaceAll(/[^\P{Cc}\t\n]/gu, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : '\u2421';
  });
}
