import { type Duplex, duplexPair, PassThrough } from 'node:stream';
import type { ExitStatus } from '../../../apps/worker/src/runtimes/contract/ending.ts';
import type { LaunchedProcess } from '../../../apps/worker/src/runtimes/contract/launched-process.ts';
import { FrameReader, parseMeta } from '../../../apps/worker/src/runtimes/protocols/handler/frames.ts';

/** A process that is none: a test is what runs in it, and says what it sends. */
export class FakeProcess {
  readonly launched: LaunchedProcess;
  /** The function's end of its channel. */
  readonly channel: Duplex;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  /** The worker has ended it. */
  wasTerminated = false;
  /** Meta of the frames that the worker has sent, in order. */
  readonly received: { readonly type: number; readonly meta: Record<string, unknown> }[] = [];
  readonly #exited = Promise.withResolvers<ExitStatus>();

  constructor() {
    const [channel, other] = duplexPair();
    this.channel = other;
    const reader = new FrameReader(() => 2 ** 31);
    other.on('error', () => {});
    channel.on('error', () => {});
    other.on('data', (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) this.received.push({ type: frame.type, meta: parseMeta(frame) });
    });
    this.launched = {
      stdin: null,
      stdout: this.stdout,
      stderr: this.stderr,
      channel,
      ended: this.#exited.promise,
      terminate: () => {
        this.wasTerminated = true;
        this.exit({ exitCode: null, signal: 'SIGKILL' });
      },
    };
  }

  /** Ends it. */
  exit(status: ExitStatus): void {
    this.stdout.end();
    this.stderr.end();
    this.channel.destroy();
    this.launched.channel?.destroy();
    this.#exited.resolve(status);
  }
}
