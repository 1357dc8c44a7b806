import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../house/rooms.ts';

interface Output {
  readonly machine: { readonly node: string };
  readonly goals: readonly unknown[];
  readonly benchmarks: readonly {
    readonly name: string;
    readonly results: readonly {
      readonly entry: string;
      readonly size: number;
      readonly timing: {
        readonly cpu: number;
        readonly check: string;
        readonly facts: Readonly<Record<string, number>>;
      };
    }[];
  }[];
}

function bench(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const command = ['--import', 'tsx', 'bench/run.ts', ...args];
  return spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8' });
}

describe('npm run bench -- --quick --json', () => {
  const names = ['scan', 'one-mapping', 'reconcile', 'sync', 'plug'];
  let output: Output;

  beforeAll(() => {
    const { status, stdout, stderr } = bench(
      '--quick',
      '--json',
      ...names.flatMap((name) => ['--only', name]),
    );
    if (status !== 0) throw new Error(stderr);
    output = JSON.parse(stdout) as Output;
  });

  function resultsOf(name: string): Output['benchmarks'][number]['results'] {
    return output.benchmarks.find((benchmark) => benchmark.name === name)?.results ?? [];
  }

  test('runs what it is asked to run, and describes the machine', () => {
    expect(output.benchmarks.map(({ name }) => name)).toEqual(names);
    expect(output.machine.node).toBe(process.version);
  });

  test('judges no goals by hardly measured figures', () => {
    expect(output.goals).toEqual([]);
  });

  test('has a time for every entry', () => {
    const times = output.benchmarks.flatMap(({ results }) => results.map(({ timing }) => timing.cpu));

    expect(times.filter((time) => !(time > 0))).toEqual([]);
  });

  test('scans 1,024 leaves, to the same sums in every entry', () => {
    const checks = new Set(resultsOf('scan').map(({ timing }) => timing.check));

    expect([...checks]).toEqual([expect.stringMatching(/^1024 /)]);
  });

  test('replays one mapping by reading one table a level', () => {
    const replays = resultsOf('one-mapping').filter(({ entry }) => entry === 'viommu');

    expect(replays.map(({ size, timing }) => [size, timing.facts['entries']])).toEqual([
      [4, 4 * 512],
      [5, 5 * 512],
    ]);
  });
});

test('a benchmark that there is not is refused with those that there are', () => {
  const { status, stderr } = bench('--only', 'everything');

  expect(status).toBe(2);
  expect(stderr).toContain('there is no benchmark everything; there are scan, one-mapping');
});
