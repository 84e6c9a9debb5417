import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import { BadFrame } from './handler/frames.ts';

/** The error of a call whose function has sent what its channel is not for, or what could not be taken. */
export function brokenProtocol(thrown: unknown): TaskError {
  const what =
    thrown instanceof BadFrame
      ? thrown.message
      : `what it sent could not be taken (${thrown instanceof Error ? thrown.message : typeof thrown})`;
  return new TaskError('FUNCTION_FAILED', {
    message: `The function broke the protocol of its channel (fd 3), and its instance was ended: ${what}.`,
    hint: "The channel is Pilum's own: a function, and what it starts, writes neither to fd 3 nor to another descriptor that it did not open.",
    details: { type: 'Protocol', reason: what },
  });
}

/** The error of a call of a command or a server that has printed what could not be taken. */
export function brokenOutput(thrown: unknown): TaskError {
  const reason = thrown instanceof Error ? thrown.message : typeof thrown;
  return new TaskError('FUNCTION_FAILED', {
    message: `What the function printed could not be taken, and its instance was ended: ${reason}.`,
    details: { type: 'Protocol', reason },
  });
}
