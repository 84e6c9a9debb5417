import {
  INSTANCE_TRANSITIONS,
  SETTLED_STATUSES,
  TASK_TRANSITIONS,
  VERSION_TRANSITIONS,
} from '@pilum/core/states/states.ts';
import { IllegalTransition, type TransitionTable, transition } from '@pilum/core/states/transition-table.ts';
import { describe, expect, it } from 'vitest';

const TABLES: Record<string, TransitionTable<string>> = {
  task: TASK_TRANSITIONS,
  instance: INSTANCE_TRANSITIONS,
  version: VERSION_TRANSITIONS,
};

describe.each(Object.entries(TABLES))('the states of a %s', (noun, table) => {
  const states = Object.keys(table);

  it('allow what the table has and throw for everything else', () => {
    for (const from of states) {
      for (const to of states) {
        const go = () => transition(noun, table, from, to);
        if (table[from]?.includes(to)) expect(go()).toBe(to);
        else expect(go, `${from} to ${to}`).toThrow(IllegalTransition);
      }
    }
  });

  it('name only states of the table, and can all be reached from the first', () => {
    const reached = new Set([states[0]]);
    for (const state of reached) for (const next of table[state ?? ''] ?? []) reached.add(next);
    expect([...reached].sort()).toEqual([...states].sort());
  });
});

it('a settled task stays as it is', () => {
  for (const status of SETTLED_STATUSES) expect(TASK_TRANSITIONS[status]).toEqual([]);
});
