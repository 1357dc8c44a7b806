import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../house/rooms.ts';
import { describeQemu } from '../qemu/harness/find-qemu.ts';

interface Output {
  readonly machine: { readonly node: string; readonly c: string };
  readonly qemu: string;
  readonly goals: readonly unknown[];
  readonly results: readonly {
    readonly measure: string;
    readonly source: string;
    readonly sink: string;
    readonly size: number;
    readonly rounds: readonly number[];
  }[];
}

const hasCompiler = spawnSync('cc', ['--version']).error === undefined;
const sinks = hasCompiler ? ['C', 'viommu'] : ['viommu'];

function bench(
  environment: Readonly<Record<string, string>>,
  ...args: readonly string[]
): { status: number | null; stdout: string; stderr: string } {
  const command = ['--import', 'tsx', 'bench/vfio-user/run.ts', ...args];
  const env = { ...process.env, ...environment };
  return spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8', env, timeout: 120_000 });
}

function quick(environment: Readonly<Record<string, string>>): Output {
  const { status, stdout, stderr } = bench(environment, '--quick', '--json');
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Output;
}

/** Who sent how many mappings to whom. */
function pairs({ results }: Output, measure: string): string[] {
  return results
    .filter((result) => result.measure === measure)
    .map(({ source, sink, size }) => `${source} > ${sink}: ${size}`)
    .sort();
}

function into(sources: readonly string[]): string[] {
  return sources.flatMap((source) => sinks.map((sink) => `${source} > ${sink}: 64`)).sort();
}

const floor = hasCompiler ? ['c'] : [];

describe('npm run bench:vfio-user -- --quick --json without QEMU', () => {
  let output: Output;

  beforeAll(() => {
    output = quick({ VIOMMU_QEMU: '/nonexistent/qemu' });
  }, 120_000);

  test('leaves QEMU out and says why', () => {
    expect(output.qemu).toMatch(/^left out, \/nonexistent\/qemu does not run/);
  });

  test('plugs our device into every server, with the same ledger as the client in C leaves there', () => {
    expect(pairs(output, 'hotplug')).toEqual(into(['viommu', 'messages', ...floor]));
  });

  test('measures the pipeline and live sync', () => {
    expect(pairs(output, 'pipeline')).toEqual(into(['viommu', 'messages', ...floor]));
    expect(pairs(output, 'sync')).toEqual(into(['viommu']));
  });

  test('has a time for every round', () => {
    const times = output.results.flatMap(({ rounds }) => (rounds.length === 0 ? [0] : rounds));

    expect(times.filter((time) => !(time > 0))).toEqual([]);
  });

  test('judges no goals by hardly measured figures', () => {
    expect(output.goals).toEqual([]);
  });
});

describeQemu('npm run bench:vfio-user -- --quick --json with QEMU', () => {
  let output: Output;

  beforeAll(() => {
    output = quick({});
  }, 120_000);

  test('names the QEMU that it found', () => {
    expect(output.qemu).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test('leaves the same ledger in every server as QEMU does', () => {
    expect(pairs(output, 'hotplug')).toEqual(into(['qemu', 'viommu', 'messages', ...floor]));
  });

  test('measures live sync of QEMU as well', () => {
    expect(pairs(output, 'sync')).toEqual(into(['qemu', 'viommu']));
  });
});

test('a benchmark that there is not is refused with those that there are', () => {
  const { status, stderr } = bench({}, '--only', 'everything');

  expect(status).toBe(2);
  expect(stderr).toContain('there is no benchmark everything; there are hotplug, pipeline, sync');
});
