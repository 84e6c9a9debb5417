import { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { problemsOf } from '@pilum/core/schemas/check.ts';
import { staysInside, versionTextProblems } from '@pilum/core/schemas/version-texts.ts';
import { describe, expect, it } from 'vitest';
import { resolveSpec } from '../../apps/api/src/artifacts/resolve-spec.ts';
import { createOptions } from '../../apps/worker/src/runtimes/docker/container-plan.ts';
import { fill } from '../conformance/snapshots.ts';

const NUL = '\0--bind\0/\0/tmp';
const whereOf = (spec: object) =>
  problemsOf(ArtifactSpecInput, { runtime: 'process', ...spec }).map(({ where }) => where);

describe('a text of a spec', () => {
  it('that would end early where it is used is refused by its field', () => {
    for (const bad of [`x${NUL}`, '\0', 'x\0', '\ud800', 'a\udfffb']) {
      expect(whereOf({ env: { A: bad } })).toEqual(['/env/A']);
      expect(whereOf({ command: ['sh', bad] })).toEqual(['/command/1']);
      expect(whereOf({ command: [bad] })).toEqual(['/command/0']);
      expect(whereOf({ entry: `index${bad}.mjs` })).toEqual(['/entry']);
      expect(whereOf({ labels: { a: bad } })).toEqual(['/labels/a']);
      expect(whereOf({ protocol: 'http', http: { healthPath: `/${bad}` } })).toEqual(['/http/healthPath']);
      expect(whereOf({ code: { image: `a${bad}` } })).toEqual(['/code/image']);
      expect(whereOf({ dependsOn: [`a${bad}`] })).toEqual(['/dependsOn/0']);
    }
  });

  it('may have lines where a program reads it, and none where it is shown as one', () => {
    expect(whereOf({ env: { PEM: 'a\nb\tc\u{1f600}' }, command: ['sh', '-c', 'echo a\necho b'] })).toEqual([]);
    for (const bad of ['a\nb', 'a\rb', 'a\u001b[31m', 'a\u0085b', 'a\u2028b']) {
      expect(whereOf({ labels: { a: bad } })).toEqual(['/labels/a']);
      expect(whereOf({ entry: `${bad}.mjs` })).toEqual(['/entry']);
    }
  });

  it('names a file within the code, whatever stands between', () => {
    for (const bad of ['../a.mjs', 'a/../b.mjs', 'a/..', '/a.mjs', 'x\n/../../../tmp/a.mjs', '..#run', 'a\n/../../b']) {
      expect(whereOf({ entry: bad })).toEqual(['/entry']);
      const [fileName = ''] = bad.split('#');
      expect(staysInside({ digest: 'sha256:0', format: 'file', sizeBytes: 1, fileName })).toBe(false);
    }
    for (const good of ['a.mjs', 'a/b..c/d.mjs#run', '..a.mjs', 'äöü 1.mjs'])
      expect(whereOf({ entry: good })).toEqual([]);
  });

  it('that names an image is no path of anything else', () => {
    for (const image of ['a/../../containers/b', 'a/./b', 'a//b', 'a/..', 'a b', 'a?b', 'a%2fb']) {
      expect(whereOf({ code: { image } })).toEqual(['/code/image']);
    }
    for (const image of ['node:26-slim', 'r.example:5000/a/b:1..2', `a@sha256:${'0'.repeat(64)}`]) {
      expect(whereOf({ code: { image } })).toEqual([]);
    }
  });

  it('is no name of a variable that is an assignment or an option itself', () => {
    for (const name of ['A=B', '-i', '', 'A\0', 'A B', 'Ä', 'BASH_FUNC_x%%', 'A\n', `A${'x'.repeat(255)}`]) {
      expect(whereOf({ env: { [name]: 'x' } }), JSON.stringify(name)).not.toEqual([]);
    }
  });
});

describe('a spec with many faults', () => {
  it('is never without one, however many the validator has words for', () => {
    const env = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${i}-`, 'x\0y']));
    for (const count of [1, 7, 8, 9, 257]) {
      const some = Object.fromEntries(Object.entries(env).slice(0, count));
      expect(whereOf({ command: ['a\0b'], env: some }), String(count)).not.toEqual([]);
      expect(versionTextProblems(fill({ runtime: 'process', command: ['a\0b'], env: some }))).not.toEqual([]);
    }
  });
});

describe('what schemas do not count', () => {
  const options = { allowHostNetwork: false, images: { node: 'n', python: 'p' } };
  const refused = (input: object) => () => resolveSpec({ runtime: 'process', ...input } as never, options);

  it('has its limit in bytes', () => {
    const large = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`V${i}`, 'x'.repeat(32_768)]));
    expect(refused({ command: ['true'], env: large })).toThrow('/body/env and command have 1310');
    const wide = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`V${i}`, '€'.repeat(32_768)]));
    expect(refused({ command: ['true'], env: wide })).toThrow('1048576 together');
    expect(refused({ code: { inline: '1' }, entry: `${'€'.repeat(100)}.mjs` })).toThrow('255 bytes');
  });

  it('makes no option and no variable of a program', () => {
    expect(refused({ command: ['-a', 'sh'] })).toThrow('/body/command/0');
    expect(refused({ command: ['LD_PRELOAD=x', 'sh'] })).toThrow('/body/command/0');
    expect(refused({ command: ['sh', '-c', 'a=b'] })).not.toThrow();
  });
});

describe('a version that an earlier release has taken', () => {
  it('is found to have a text that must not be used', () => {
    const usual = fill({ runtime: 'process', command: ['sh'], env: { A: 'b' } });
    expect(versionTextProblems(usual)).toEqual([]);
    expect(versionTextProblems(fill({ runtime: 'process', command: ['sh'], env: { A: NUL } }))).toHaveLength(1);
    expect(versionTextProblems(fill({ runtime: 'process', command: ['sh', NUL] }))).toHaveLength(1);
    const code = { digest: `sha256:${'0'.repeat(64)}`, format: 'file', sizeBytes: 1, fileName: 'a\n/../../b' } as const;
    expect(versionTextProblems({ ...usual, code })[0]?.where).toBe('/code/fileName');
    const layers = [{ artifactId: '../../tmp', version: 1, code }];
    expect(versionTextProblems({ ...usual, layers })[0]?.where).toMatch(/^\/layers\/0\//);
    expect(versionTextProblems({ ...usual, spec: { ...usual.spec, later: { field: NUL } } as never })).toEqual([]);
  });

  it('makes no container', () => {
    const { limits } = fill({ runtime: 'process', command: ['sh'] }).spec;
    const plan = {
      name: 'a',
      labels: {},
      image: 'sha256:0',
      user: '1000:1000',
      kind: 'command',
      command: ['sh'],
      workingDirectory: null,
      env: {},
      mounts: {},
      limits,
      attached: true,
      ociRuntime: null,
    } as const;
    const refusal = expect.objectContaining({ code: 'INSTANCE_START_FAILED' });
    expect(() => createOptions(plan)).not.toThrow();
    expect(() => createOptions({ ...plan, command: ['sh', NUL] })).toThrow(refusal);
    expect(() => createOptions({ ...plan, env: { A: NUL } })).toThrow(refusal);
  });
});
