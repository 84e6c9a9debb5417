import type { TransitionTable } from './transition-table.ts';

// Task:      pending → running → completed | failed | timeout | cancelled
//            (a pending task can also be settled without ever running: cancelled, failed, timeout)
export const TASK_STATUSES = ['pending', 'running', 'completed', 'failed', 'timeout', 'cancelled'] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];
export const TASK_TRANSITIONS: TransitionTable<TaskStatus> = {
  pending: ['running', 'failed', 'timeout', 'cancelled'],
  // Back to pending: the worker or the instance died under it, and it is run again.
  running: ['completed', 'failed', 'timeout', 'cancelled', 'pending'],
  completed: [],
  failed: [],
  timeout: [],
  cancelled: [],
};
export const SETTLED_STATUSES = ['completed', 'failed', 'timeout', 'cancelled'] as const;
export type SettledStatus = (typeof SETTLED_STATUSES)[number];

// Instance:  creating → ready ⇄ running → terminating → terminated, and failed from any of the first three
export const INSTANCE_STATES = ['creating', 'ready', 'running', 'terminating', 'terminated', 'failed'] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];
export const INSTANCE_TRANSITIONS: TransitionTable<InstanceState> = {
  creating: ['ready', 'terminating', 'failed'],
  ready: ['running', 'terminating', 'failed'],
  running: ['ready', 'terminating', 'failed'],
  terminating: ['terminated'],
  terminated: [],
  failed: [],
};

// Version:   creating → ready → deprecated → deleted, and failed
export const VERSION_STATES = ['creating', 'ready', 'deprecated', 'deleted', 'failed'] as const;
export type VersionState = (typeof VERSION_STATES)[number];
export const VERSION_TRANSITIONS: TransitionTable<VersionState> = {
  creating: ['ready', 'failed', 'deleted'],
  ready: ['deprecated', 'deleted'],
  deprecated: ['ready', 'deleted'],
  deleted: [],
  failed: ['deleted'],
};
