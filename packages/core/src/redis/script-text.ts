import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A value that stands in a script in place of a constant's name. */
export type ScriptConstant = number | string | readonly string[];
export type ScriptConstants = Readonly<Record<string, ScriptConstant>>;

/** Names in order. The last may begin with `...`, and is then a list of all that follows. */
export type ScriptNames = readonly string[];

/** The pieces that a script is made of. */
export interface ScriptSource {
  readonly keys: ScriptNames;
  readonly args: ScriptNames;
  readonly constants?: ScriptConstants;
  /** A Lua file, */
  readonly file?: URL;
  /** or else the Lua itself, without directives. */
  readonly lua?: string;
}

/** A script as Redis gets it. */
export interface ScriptText {
  /** Names the script in errors. */
  readonly name: string;
  readonly text: string;
  /** Paths of the files that it was put together from, the included ones first. */
  readonly files: readonly string[];
  /** Names the file and line that a line of the text came from. */
  placeOf(line: number): string;
}

/** A file of a script, or its inline Lua. */
interface Part {
  readonly name: string;
  readonly lines: readonly string[];
  /** Contents of its directives. */
  readonly names: Readonly<Record<'key' | 'arg' | 'const', readonly string[]>>;
}

const DIRECTIVE = /^---\s*@(include|key|arg|const)\s+(?:"([^"]+)"|([\w.]+))/;
const TOKEN = /--[^\n]*|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<!\w)[A-Za-z_]\w*/g;
const IS_CONSTANT = /^[A-Z][A-Z0-9_]+$/;
const LONG_BRACKET = /\[=*\[/;

/**
 * Puts a script together: locals for its keys and arguments, then the files that it includes, each once, then its own Lua, all of
 * them without comments and with constants in place of their names.
 *
 * A file says at its head, in lines that begin with `---`, what it needs:
 *
 *     --- @include "other"        the Lua of other.lua beside it, ahead of its own
 *     --- @key queue  …           a key, by the name that the definition gives it
 *     --- @arg taskId  …          an argument, likewise
 *     --- @const ULID_LENGTH      a constant that the definition hands in
 *
 * @throws Error where files include each other in a circle, or where what they say and what the definition hands in differ.
 */
export function scriptText({ keys, args, constants = {}, file, lua = '' }: ScriptSource): ScriptText {
  const files = new Map<string, Part>();
  if (file !== undefined) read(fileURLToPath(file), [], files);
  const parts = file === undefined ? [inlinePart(lua, keys, args, constants)] : [...files.values()];
  const own = parts.at(-1) as Part;
  checkNames(own.name, parts, { key: keys, arg: args, const: Object.keys(constants) });
  const text: string[] = [];
  const places: string[] = [];
  const add = (line: string, place: string) => {
    text.push(line);
    places.push(place);
  };
  for (const line of [...localsOf('KEYS', keys), ...localsOf('ARGV', args)]) add(line, `${own.name}: its arguments`);
  for (const part of parts) {
    for (const [index, line] of part.lines.entries()) {
      const place = `${part.name}:${index + 1}`;
      const code = codeOf(line, place, part, constants);
      if (code !== '') add(code, place);
    }
  }
  return {
    name: own.name,
    text: text.join('\n'),
    files: [...files.keys()],
    placeOf: (line) => places[line - 1] ?? own.name,
  };
}

/** Reads a file and what it includes into `files`, those that are included first. */
function read(path: string, including: readonly string[], files: Map<string, Part>): void {
  if (including.includes(path)) {
    throw new Error(`Lua files include each other in a circle: ${[...including, path].map(nameOf).join(' → ')}.`);
  }
  if (files.has(path)) return;
  const lines = readFileSync(path, 'utf8').split('\n');
  const names = { key: new Set<string>(), arg: new Set<string>(), const: new Set<string>() };
  for (const line of lines) {
    const [, kind, quoted, plain = ''] = DIRECTIVE.exec(line) ?? [];
    if (kind === 'include') {
      const included = join(dirname(path), `${quoted}.lua`);
      read(included, [...including, path], files);
    } else if (kind !== undefined) names[kind as keyof typeof names].add(plain);
  }
  files.set(path, {
    name: nameOf(path),
    lines,
    names: { key: [...names.key], arg: [...names.arg], const: [...names.const] },
  });
}

function inlinePart(lua: string, keys: ScriptNames, args: ScriptNames, constants: ScriptConstants): Part {
  return {
    name: 'inline Lua',
    lines: lua.split('\n'),
    names: { key: keys, arg: args, const: Object.keys(constants) },
  };
}

/** The end of a path, which is enough to find the file: `queue/lua/end.lua`. */
const nameOf = (path: string) => path.split('/').slice(-3).join('/');

function checkNames(name: string, parts: readonly Part[], given: Record<keyof Part['names'], readonly string[]>): void {
  const words = { key: 'key', arg: 'argument', const: 'constant' };
  for (const kind of ['key', 'arg', 'const'] as const) {
    for (const part of parts) {
      for (const needed of part.names[kind]) {
        if (given[kind].includes(needed)) continue;
        throw new Error(`The definition of ${name} hands in no ${words[kind]} ${needed}, which ${part.name} needs.`);
      }
    }
    for (const handed of given[kind]) {
      if (parts.some((part) => part.names[kind].includes(handed))) continue;
      throw new Error(`The definition of ${name} hands in the ${words[kind]} ${handed}, which no file of it needs.`);
    }
  }
  const all = [...given.key, ...given.arg];
  const bare = all.map((one) => one.replace('...', ''));
  const twice = bare.find((one, index) => bare.indexOf(one) !== index);
  if (twice !== undefined) throw new Error(`The definition of ${name} has two values of the name ${twice}.`);
  for (const names of [given.key, given.arg]) {
    const early = names.slice(0, -1).find((one) => one.startsWith('...'));
    if (early !== undefined) throw new Error(`In the definition of ${name} something follows ${early}.`);
  }
}

/** Lua that gives what Redis hands a script its names. */
function localsOf(list: 'KEYS' | 'ARGV', names: ScriptNames): string[] {
  const single = names.filter((name) => !name.startsWith('...'));
  const tail = names.at(-1)?.startsWith('...') ? names.at(-1)?.slice('...'.length) : undefined;
  const lines: string[] = [];
  if (single.length > 0) {
    lines.push(`local ${single.join(', ')} = ${single.map((_, index) => `${list}[${index + 1}]`).join(', ')}`);
  }
  if (tail !== undefined && single.length === 0) lines.push(`local ${tail} = ${list}`);
  else if (tail !== undefined) {
    const before = single.length;
    lines.push(`local ${tail} = {}`, `for i = ${before + 1}, #${list} do ${tail}[i - ${before}] = ${list}[i] end`);
  }
  return lines;
}

/** A line without its comment, and with constants in place of their names. */
function codeOf(line: string, place: string, part: Part, constants: ScriptConstants): string {
  const code = line.replace(TOKEN, (token) => {
    if (token.startsWith('--')) return '';
    if (token === 'KEYS' || token === 'ARGV') {
      throw new Error(`${place} takes from ${token} by number: the definition gives each of its values a name.`);
    }
    if (!IS_CONSTANT.test(token)) return token;
    const value = constants[token];
    if (value !== undefined && part.names.const.includes(token)) return literal(value);
    throw new Error(`${place} names ${token}, and no line "--- @const ${token}" says where it comes from.`);
  });
  if (LONG_BRACKET.test(code)) throw new Error(`${place} has a long bracket, which is not understood here.`);
  return code.trimEnd();
}

function literal(value: ScriptConstant): string {
  if (typeof value === 'number') return value < 0 ? `(${value})` : String(value);
  if (typeof value === 'string') return `'${value.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n')}'`;
  return `{ ${value.map(literal).join(', ')} }`;
}
