import { createHash } from 'node:crypto';
import { Command, type Redis } from 'ioredis';
import { PiecedCommand, type Pieces } from './pieced-command.ts';

type ScriptArgument = string | number | Buffer;

/** A Lua script that runs atomically in Redis. */
export interface NumberedScript {
  run(redis: Redis, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
  /** The same, with an argument that is written from its pieces. */
  runWithPieces(redis: Redis, keys: readonly string[], args: readonly (ScriptArgument | Pieces)[]): Promise<unknown>;
  /** The same, for a script that returns bytes: what would be a string is a buffer. */
  runForBytes(redis: Redis, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
}

/**
 * Prepares a Lua script. It is sent by its digest; a Redis that does not have it yet, or no longer, gets the text.
 */
export function scriptByNumber(lua: string): NumberedScript {
  const sha = createHash('sha1').update(lua).digest('hex');
  return {
    async run(redis, keys, args) {
      try {
        return await redis.evalsha(sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return await redis.eval(lua, keys.length, ...keys, ...args);
      }
    },
    async runWithPieces(redis, keys, args) {
      const run = (command: string, script: string) =>
        redis.sendCommand(new PiecedCommand(command, [script, keys.length, ...keys, ...args]));
      try {
        return await run('evalsha', sha);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return await run('eval', lua);
      }
    },
    async runForBytes(redis, keys, args) {
      const run = (command: string, script: string) =>
        redis.sendCommand(new Command(command, [script, keys.length, ...keys, ...args], { replyEncoding: null }));
      try {
        return await run('evalsha', sha);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return await run('eval', lua);
      }
    },
  };
}

const isUnknownScript = (error: unknown) => error instanceof Error && error.message.startsWith('NOSCRIPT');
