import { styleText } from 'node:util';

/** Widest name of a part, so that the lines stand in columns. */
const NAME_WIDTH = 9;
const COLOURS = ['cyan', 'green', 'yellow', 'magenta', 'blue'] as const;

type Style = Parameters<typeof styleText>[0];

/** The lines that `up` writes on the terminal: its own lines, and the parts' logs under their names. A line is one write. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #pretty: ((line: string) => string) | undefined;
  readonly #colours = new Map<string, Style>();

  /** @param pretty Makes a line of JSON readable; left out where a program reads it. */
  constructor(out: NodeJS.WriteStream, pretty?: (line: string) => string) {
    this.#out = out;
    this.#pretty = pretty;
  }

  /** A line of `up` itself about a part. */
  status(name: string, text: string, style: 'green' | 'yellow' | 'red' = 'green'): void {
    const [first = '', ...rest] = text.split(' ');
    this.print(`${this.#name(name)} ${this.#style(style, first)} ${rest.join(' ')}`.trimEnd());
  }

  /** A line of a part's log. */
  log(name: string, line: string): void {
    const lines = this.#pretty === undefined ? line : this.#pretty(line);
    for (const one of lines.split('\n')) this.print(`${this.#name(name)} ${this.#style('dim', '|')} ${one}`);
  }

  print(text: string): void {
    this.#out.write(`${text}\n`);
  }

  #name(name: string): string {
    const colour = this.#colours.get(name) ?? COLOURS[this.#colours.size % COLOURS.length] ?? 'cyan';
    this.#colours.set(name, colour);
    return this.#style(colour, name.padEnd(NAME_WIDTH));
  }

  #style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#out });
  }
}
