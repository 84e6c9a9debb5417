import { configurationRows, readConfiguration, readVariable } from '@pilum/core/config/read-configuration.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { expect, test } from 'vitest';

/** What is wrong with an environment, by the variables that are to be changed. */
function problemsOf(environment: Record<string, string>): readonly { where: string; what: string }[] {
  try {
    readConfiguration(environment);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.details?.problems as { where: string; what: string }[];
    throw error;
  }
  return [];
}

test('PILUM_BLANKS, the earlier name of PILUM_PREWARM, still works', () => {
  expect(readConfiguration({ PILUM_PREWARM: '7' }).PREWARM).toBe(7);
  expect(readConfiguration({ PILUM_BLANKS: '7' }).PREWARM).toBe(7);
  expect(readVariable({ PILUM_BLANKS: '7', PILUM_PORT: 'none' }, 'PREWARM')).toBe(7);
  expect(readConfiguration({}).PREWARM).toBe(4);
});

test('two names of one setting may agree, and one of them be empty', () => {
  expect(readConfiguration({ PILUM_BLANKS: '7', PILUM_PREWARM: '7' }).PREWARM).toBe(7);
  expect(readConfiguration({ PILUM_BLANKS: '7', PILUM_PREWARM: '' }).PREWARM).toBe(7);
  const [problem] = problemsOf({ PILUM_BLANKS: '7', PILUM_PREWARM: '0' });
  expect(problem).toEqual({
    where: 'PILUM_PREWARM',
    what: 'and PILUM_BLANKS are two names of one setting, and differ',
  });
});

test('a wrong value is told by the name that it was given by', () => {
  expect(problemsOf({ PILUM_BLANKS: '-1' }).map(({ where }) => where)).toEqual(['PILUM_BLANKS']);
  expect(problemsOf({ PILUM_PREWARM: 'many' }).map(({ where }) => where)).toEqual(['PILUM_PREWARM']);
  expect(problemsOf({ PILUM_PREWARMED: '1', PILUM_toString: '1' }).map(({ where }) => where)).toEqual([
    'PILUM_PREWARMED',
    'PILUM_toString',
  ]);
});

test('the configuration page names a setting’s earlier name with it', () => {
  const rows = configurationRows();
  expect(rows.find(({ variable }) => variable === 'PILUM_PREWARM')?.description).toMatch(
    /PILUM_BLANKS, its earlier name/,
  );
  expect(rows.map(({ variable }) => variable)).not.toContain('PILUM_BLANKS');
});
