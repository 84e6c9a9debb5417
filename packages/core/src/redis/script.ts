import { createHash } from 'node:crypto';
import { Command, type Redis } from 'ioredis';
import { PiecedCommand, type Pieces } from './pieced-command.ts';
import { type ScriptNames, type ScriptSource, scriptText } from './script-text.ts';

export type ScriptArgument = string | number | Buffer;

/** One value for each name, and a list for one that begins with `...`. */
type ValuesOf<Names extends ScriptNames, Value> = {
  readonly [Name in Names[number] as Name extends `...${string}` ? never : Name]: Value;
} & {
  readonly [Name in Names[number] as Name extends `...${infer Tail}` ? Tail : never]: readonly Value[];
};

/** The keys and arguments that a script is run with, by name. */
export type ScriptValues<
  Keys extends ScriptNames,
  Args extends ScriptNames,
  Value extends ScriptArgument | Pieces = ScriptArgument,
> = ValuesOf<Keys, string> & ValuesOf<Args, Value>;

/** A Lua script that runs atomically in Redis. */
export interface Script<Keys extends ScriptNames = ScriptNames, Args extends ScriptNames = ScriptNames> {
  run(redis: Redis, values: ScriptValues<Keys, Args>): Promise<unknown>;
  /** The same, with arguments that are written from their pieces. */
  runWithPieces(redis: Redis, values: ScriptValues<Keys, Args, ScriptArgument | Pieces>): Promise<unknown>;
  /** The same, for a script that returns bytes: what would be a string is a buffer. */
  runForBytes(redis: Redis, values: ScriptValues<Keys, Args>): Promise<unknown>;
}

/** The parts of a script, with its names as they are typed. */
type Definition<Keys extends ScriptNames, Args extends ScriptNames> = ScriptSource & {
  readonly keys: Keys;
  readonly args: Args;
};

/** A script that was defined, for tests that look at all of them. */
interface DefinedScript {
  readonly name: string;
  readonly text: string;
  readonly files: readonly string[];
  readonly names: ScriptNames;
}

const defined: DefinedScript[] = [];

/** Every script of the modules that are loaded. */
export const definedScripts = (): readonly DefinedScript[] => defined;

/**
 * Prepares a Lua script; see {@link scriptText} for what a file may say. The Lua knows each key and argument by its name, and whoever
 * runs it hands them in by name. It is sent by its digest; a Redis that does not have it yet, or no longer, gets the text.
 */
export function defineScript<const Keys extends ScriptNames, const Args extends ScriptNames>(
  definition: Definition<Keys, Args>,
): Script<Keys, Args> {
  const { name, text, files, placeOf } = scriptText(definition);
  defined.push({ name, text, files, names: [...definition.keys, ...definition.args] });
  const sha = createHash('sha1').update(text).digest('hex');
  const partsOf = partsMaker(definition.keys, definition.args);

  async function send(redis: Redis, commandOf: (name: string, script: string) => Command): Promise<unknown> {
    try {
      return await redis.sendCommand(commandOf('evalsha', sha));
    } catch (error) {
      if (!isUnknownScript(error)) throw placed(error);
    }
    try {
      return await redis.sendCommand(commandOf('eval', text));
    } catch (error) {
      throw placed(error);
    }
  }

  /** An error of Redis says the line of the text; what helps is the file. */
  function placed(error: unknown): unknown {
    const line = error instanceof Error ? /user_script:(\d+)/.exec(error.message)?.[1] : undefined;
    if (line !== undefined) (error as Error).message += ` [${placeOf(Number(line))}]`;
    return error;
  }

  const script: Script = {
    run: (redis, values) =>
      send(redis, (command, first) => new Command(command, partsOf(first, values), { replyEncoding: 'utf8' })),
    runWithPieces: (redis, values) =>
      send(redis, (command, first) => new PiecedCommand(command, partsOf<Pieces>(first, values))),
    runForBytes: (redis, values) =>
      send(redis, (command, first) => new Command(command, partsOf(first, values), { replyEncoding: null })),
  };
  return script;
}

/** Makes the function that puts values in the order in which a script takes them; the order is fixed here, once. */
function partsMaker(keys: ScriptNames, args: ScriptNames) {
  const isTail = (name: string) => name.startsWith('...');
  const singleKeys = keys.filter((name) => !isTail(name));
  const keyTail = keys.find(isTail)?.slice('...'.length);
  const singleArgs = args.filter((name) => !isTail(name));
  const argTail = args.find(isTail)?.slice('...'.length);
  return <Value = never>(script: string, values: unknown): (ScriptArgument | Value)[] => {
    const single = values as Readonly<Record<string, ScriptArgument | Value>>;
    const lists = values as Readonly<Record<string, readonly (ScriptArgument | Value)[]>>;
    const parts: (ScriptArgument | Value)[] = [script, singleKeys.length];
    for (let i = 0; i < singleKeys.length; i++) parts.push(single[singleKeys[i]!]!);
    if (keyTail !== undefined) {
      parts.push(...lists[keyTail]!);
      parts[1] = parts.length - 2;
    }
    for (let i = 0; i < singleArgs.length; i++) parts.push(single[singleArgs[i]!]!);
    if (argTail !== undefined) parts.push(...lists[argTail]!);
    return parts;
  };
}

const isUnknownScript = (error: unknown) => error instanceof Error && error.message.startsWith('NOSCRIPT');
