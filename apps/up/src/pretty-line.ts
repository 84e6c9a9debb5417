import { prettyFactory } from 'pino-pretty';

/** Makes the JSON lines of the parts' logs readable, and leaves every other line as it is. */
export function prettyLine(colour: boolean): (line: string) => string {
  const pretty = prettyFactory({ colorize: colour, translateTime: 'HH:MM:ss', ignore: 'pid,hostname,name' });
  return (line) => (line.startsWith('{') ? pretty(line).trimEnd() : line);
}
