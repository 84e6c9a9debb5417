// The task and attempt state machines, as the scripts in Redis keep them: random calls by two workers, one of which may
// be late with everything, compared with a model after every step. Slots are offered, and jobs handed over for them; the
// worker process that has offered them may die, and another takes its place.
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys } from '@pilum/core/redis/keys.ts';
import type { FailedAttempt, Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { payloadSize } from '@pilum/core/schemas/task.ts';
import { TASK_TRANSITIONS, type TaskStatus } from '@pilum/core/states/states.ts';
import { transition } from '@pilum/core/states/transition-table.ts';
import { standingOutcome, TaskStore } from '@pilum/core/store/task-store.ts';
import { cancelledOutcome } from '@pilum/core/store/unrun-outcome.ts';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';
import { WorkerProcess } from '../support/worker-process.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;
const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
  queues = kept.add(new TaskQueues(redis));
});

interface ModelTask {
  readonly ticket: Ticket;
  status: TaskStatus;
  outcome: Outcome | null;
  attempts: number;
}

/** What should be so. */
interface Model {
  readonly tasks: ModelTask[];
  /** The latest last. */
  readonly offers: ModelOffer[];
}

interface ModelOffer {
  readonly token: string;
  readonly process: WorkerProcess;
}

/** What is so: Redis, and what each worker believes to hold. */
interface Real {
  readonly queue: TaskQueue;
  readonly store: TaskStore;
  readonly artifactId: string;
  readonly held: HeldJob[];
  /** Jobs that were taken from their worker, which does not know it yet. */
  readonly lost: HeldJob[];
  process: WorkerProcess;
}

type Step = fc.AsyncCommand<Model, Real>;

function become(task: ModelTask, status: TaskStatus): void {
  task.status = transition('A task', TASK_TRANSITIONS, task.status, status);
}

const taskOf = (model: Model, job: HeldJob) => {
  const task = model.tasks.find(({ ticket }) => ticket.taskId === job.ticket.taskId);
  if (task === undefined) throw new Error('a job without a task');
  return task;
};

/** A step that always may be taken, followed by a comparison of everything. */
function step(name: string, run: (model: Model, real: Real) => Promise<void>): Step {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real);
      await compare(model, real);
    },
    toString: () => name,
  };
}

async function compare({ tasks, offers }: Model, { queue, store, artifactId }: Real): Promise<void> {
  const prefix = artifactKeys({ namespace: 'default', artifactId }).queuePrefix;
  const [wait, prioritized, active, delayed, standing] = await Promise.all([
    redis.lrange(`${prefix}:queue:wait`, 0, -1),
    redis.zrange(`${prefix}:queue:prioritized`, '0', '-1'),
    redis.lrange(`${prefix}:queue:active`, 0, -1),
    redis.zrange(`${prefix}:queue:delayed`, '0', '-1'),
    redis.lrange(artifactKeys({ namespace: 'default', artifactId }).offers, 0, -1),
  ]);
  expect(standing, 'what is offered').toEqual(offers.map(({ token }) => token));
  const places = [...wait, ...prioritized, ...active, ...delayed];
  expect(new Set(places).size, 'a job stands in one place').toBe(places.length);
  let unsettledBytes = 0;
  for (const { ticket, outcome, attempts, status } of tasks) {
    const standing = await store.outcome({ namespace: 'default', taskId: ticket.taskId });
    expect(standing, 'an outcome never changes').toEqual(outcome);
    if (outcome === null) {
      unsettledBytes += payloadSize(ticket);
      expect(places, 'a task without an outcome has a job').toContain(ticket.taskId);
      expect(
        (await store.attempts({ namespace: 'default', taskId: ticket.taskId })).map(({ attempt }) => attempt),
      ).toEqual(Array.from({ length: attempts }, (_, i) => i + 1));
      if (status === 'pending') expect(active).not.toContain(ticket.taskId);
    }
  }
  const stats = await redis.hget(artifactKeys({ namespace: 'default', artifactId }).stats, 'backlogBytes');
  expect(Number(stats ?? 0), 'bytes of what is not settled').toBe(unsettledBytes);
  expect((await queue.counts()).active).toBe(active.length);
}

const pick = <T>(list: readonly T[], index: number): T | undefined =>
  list.length === 0 ? undefined : list[index % list.length];

const accepting = fc.nat({ max: 40 }).map((size) =>
  step(`accept ${size} bytes`, async (model, real) => {
    const { queue, artifactId } = real;
    const isFirst = (await inLine(artifactId)) === 0;
    const ticket = ticketFor(artifactId, {
      maxAttempts: 3,
      priority: size % 10,
      payload: { encoding: 'utf8', data: 'x'.repeat(size) },
    });
    await accept(queue, ticket);
    const task: ModelTask = { ticket, status: 'pending', outcome: null, attempts: 0 };
    model.tasks.push(task);
    if (!isFirst) return;
    for (let offer = model.offers.pop(); offer !== undefined; offer = model.offers.pop()) {
      if (offer.process !== real.process) continue;
      const job = await offer.process.handedFor(queue, offer.token);
      expect(job.ticket).toEqual(ticket);
      expect(await queue.recall([offer.token]), 'a recall brings the job as well').toEqual([job]);
      become(task, 'running');
      real.held.push(job);
      return;
    }
  }),
);

/** Tasks that are ahead of one that is accepted now. */
async function inLine(artifactId: string): Promise<number> {
  const prefix = `${artifactKeys({ namespace: 'default', artifactId }).queuePrefix}:queue`;
  return (await redis.llen(`${prefix}:wait`)) + (await redis.zcard(`${prefix}:prioritized`));
}

/** A worker has got a job in another way than by a message. */
function begin(model: Model, real: Real, job: HeldJob): void {
  const task = taskOf(model, job);
  expect(job.ticket.attempt).toBe(task.attempts + 1);
  if (task.outcome === null) become(task, 'running');
  real.held.push(job);
}

const noneWaits = ({ tasks }: Model) =>
  expect(tasks.filter(({ status, outcome }) => status === 'pending' && outcome === null)).toEqual([]);

const acceptingAgain = fc.nat().map((index) =>
  step('accept again', async ({ tasks }, { queue }) => {
    const task = pick(tasks, index);
    if (task !== undefined) await accept(queue, task.ticket);
  }),
);

const fetching = fc.constant(
  step('fetch', async (model, real) => {
    const { job } = await real.queue.fetch(real.process.tokens.next(), 'worker');
    if (job === null) noneWaits(model);
    else begin(model, real, job);
  }),
);

const ending = {
  index: fc.nat(),
  late: fc.boolean(),
  ok: fc.boolean(),
  slot: fc.constantFrom('leave', 'take', 'offer', 'offer'),
};

const settling = fc.record(ending).map(({ index, late, ok, slot }) =>
  step(`${late ? 'late ' : ''}${ok ? 'completion' : 'failure'}, then ${slot}`, async (model, real) => {
    const { queue, store, held, lost, process } = real;
    const list = late ? lost : held;
    const job = pick(list, index);
    if (job === undefined) return;
    const task = taskOf(model, job);
    const mine = { ...outcomeFor(job.ticket, { status: ok ? 'completed' : 'failed' }), workerId: job.token };
    const settlement = store.settlement(job.ticket, mine, { log: 'a line\n' });
    const token = process.tokens.next();
    const next = slot === 'leave' ? null : { token, workerId: 'worker', offer: slot === 'offer' };
    const ended = await queue.end(job, { settlement, failure: ok ? null : 'failed', next });
    const standing = standingOutcome(settlement, ended.standing);
    expect(standing).toEqual(task.outcome);
    expect(ended.wasOurs, 'the job is ended by the worker that holds it').toBe(!late);
    if (late || next === null) expect(ended).toMatchObject({ job: null, offered: false });
    let isOffered = ended.offered;
    if (standing === null) {
      const again = await queue.end(job, { settlement, failure: ok ? null : 'failed', next });
      expect(standingOutcome(settlement, again.standing), 'the same, sent again').toBeNull();
      expect(again).toMatchObject({ wasOurs: false, offered: false });
      expect(again.job?.ticket, 'what was taken is found again').toEqual(ended.job?.ticket);
      isOffered = false;
      // A late worker may be first: its task waits to be run again, or is.
      if (task.status === 'pending') become(task, 'running');
      become(task, mine.status);
      task.outcome = mine;
    }
    list.splice(list.indexOf(job), 1);
    if (ended.job !== null) begin(model, real, ended.job);
    else if (next !== null && !late) noneWaits(model);
    if (slot === 'offer' && !late) expect(ended.offered).toBe(ended.job === null);
    if (isOffered) model.offers.push({ token, process });
  }),
);

/** A slot that had a task which was ended from outside is offered: the command is sent once. */
const offering = fc.constant(
  step('offer', async (model, real) => {
    const { queue, store, artifactId, process } = real;
    if ((await queue.counts()).waiting > 0) return;
    const ticket = ticketFor(artifactId);
    await accept(queue, ticket);
    const taken = model.offers.findLast((offer) => offer.process === process);
    while (model.offers.length > 0 && model.offers.pop() !== taken);
    const job =
      taken === undefined
        ? (await queue.fetch(process.tokens.next(), 'worker')).job
        : await process.handedFor(queue, taken.token);
    expect(job?.ticket).toEqual(ticket);
    const { token, offered, settlement } = await process.endAndOffer(queue, store, job!);
    expect(offered).toBe(true);
    model.tasks.push({ ticket, status: 'completed', outcome: settlement.outcome, attempts: 0 });
    model.offers.push({ token, process });
  }),
);

const recalling = fc.nat().map((index) =>
  step('recall', async ({ offers }, { queue }) => {
    const offer = pick(offers, index);
    if (offer === undefined) return;
    expect(await queue.recall([offer.token])).toEqual(['recalled']);
    expect(await queue.recall([offer.token]), 'the same, sent again').toEqual(['unknown']);
    offers.splice(offers.indexOf(offer), 1);
  }),
);

const dying = fc.constant(
  step('death of the process that has offered slots', async (_model, real) => {
    await real.process.die();
    real.process = await WorkerProcess.start(server.url);
  }),
);

const retrying = fc.record({ index: fc.nat(), late: fc.boolean() }).map(({ index, late }) =>
  step(`${late ? 'late ' : ''}attempt that failed`, async (model, { queue, store, held, lost }) => {
    const list = late ? lost : held;
    const job = pick(list, index);
    if (job === undefined) return;
    const task = taskOf(model, job);
    const { attempt } = job.ticket;
    const next: Ticket = { ...job.ticket, attempt: attempt + 1, dueAtMs: Date.now() };
    const failed: FailedAttempt = {
      attempt,
      workerId: `${late ? 'late' : 'prompt'} ${job.token}`,
      instanceId: null,
      startedAtMs: 1,
      finishedAtMs: 2,
      runMs: 1,
      error: { code: 'FUNCTION_FAILED', message: 'it failed' },
      retryAtMs: next.dueAtMs,
    };
    const recorded = await store.recordAttempt(next, failed, job);
    if (task.outcome !== null) expect(recorded).toEqual(task.outcome);
    else if (!late) {
      expect(recorded).toBe('recorded');
      expect(await store.recordAttempt(next, failed, job), 'the same, sent again').toBe('recorded');
      task.attempts++;
    } else expect(recorded).toBe('late');
    list.splice(list.indexOf(job), 1);
    if (late) await expect(queue.retry(job, next)).rejects.toThrow();
    else if (task.outcome !== null) await end(queue, store, job, task.outcome);
    else {
      await queue.retry(job, next);
      become(task, 'pending');
      await due();
    }
  }),
);

/** A job that was put off is due a millisecond later at the earliest. */
async function due(): Promise<void> {
  const from = Date.now();
  while (Date.now() < from + 3) await new Promise((resolve) => setTimeout(resolve, 1));
}

const cancelling = fc.nat().map((index) =>
  step('cancel', async ({ tasks }, { queue, store }) => {
    const task = pick(tasks, index);
    const job = task && (await queue.read(task.ticket.taskId));
    if (!task || !job) return;
    const mine = cancelledOutcome(job.ticket, null, `cancelled ${Math.random()}`);
    const standing = await store.settle(job.ticket, mine);
    expect(standing).toEqual(task.outcome);
    if (standing !== null) return;
    become(task, 'cancelled');
    task.outcome = mine;
    await queue.remove(task.ticket.taskId);
  }),
);

const crashing = fc.nat().map((index) =>
  step('crash of a worker', async (model, { queue, held, lost, artifactId }) => {
    const job = pick(held, index);
    if (job === undefined) return;
    const prefix = `${artifactKeys({ namespace: 'default', artifactId }).queuePrefix}:queue`;
    // Its lock runs out, and two checks later it is back in line; the checks of the others find their locks in place.
    await redis.del(`${prefix}:${job.ticket.taskId}:lock`);
    for (let check = 0; check < 2; check++) {
      await redis.del(`${prefix}:stalled-check`);
      await queue.recoverStalled();
    }
    held.splice(held.indexOf(job), 1);
    lost.push(job);
    const task = taskOf(model, job);
    if (task.outcome === null) become(task, 'pending');
  }),
);

const givingBack = fc.nat().map((index) =>
  step('give back', async (model, { queue, held }) => {
    const job = pick(held, index);
    if (job === undefined) return;
    await queue.giveBack(job);
    held.splice(held.indexOf(job), 1);
    const task = taskOf(model, job);
    if (task.outcome === null) become(task, 'pending');
  }),
);

describe('tasks and attempts', () => {
  let run = 0;
  it('keep to their state machines, whoever comes late', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.commands(
          [
            ...[accepting, acceptingAgain, fetching, fetching, settling, retrying, cancelling, crashing, givingBack],
            ...[accepting, settling, offering, recalling, dying],
          ],
          { maxCommands: 60, size: 'max' },
        ),
        async (steps) => {
          const artifactId = `machine-${run++}`;
          const queue = queues.of({ namespace: 'default', artifactId });
          const store = new TaskStore(redis, { ageS: 1000, count: 1000, framesAgeS: 1000 });
          const process = await WorkerProcess.start(server.url);
          const real: Real = { queue, store, artifactId, held: [], lost: [], process };
          try {
            await fc.asyncModelRun(() => ({ model: { tasks: [], offers: [] }, real }), steps);
          } finally {
            await real.process.die();
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
