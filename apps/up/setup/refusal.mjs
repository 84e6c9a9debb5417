/**
 * Something a person has to put right before Pilum can start: a port in use, a missing program, a wrong argument.
 * Its message is one sentence that says what is wrong and what to do; it is printed without a stack, and the exit
 * code is 1.
 */
export class Refusal extends Error {
  name = 'Refusal';
}
