import type { Result } from './suite.ts';
import { formatCount, formatTime, threeDigits } from './format.ts';

/** One thing to reach, and whether it was. */
export interface Goal {
  readonly goal: string;
  readonly measured: string;
  readonly met: boolean;
}

/** Results by benchmark. */
export type Results = ReadonlyMap<string, readonly Result[]>;

/** The goals that can be judged by `results`: those of benchmarks that ran, with a floor where they need one. */
export function judge(results: Results): Goal[] {
  return [
    ...ratioGoal(results, 'scan', 'scan at most 3.5 times the C floor', 3.5),
    ...ratioGoal(results, 'reconcile', 'unchanged reconcile at most 4 times the C floor', 4),
    ...bytesGoal(results),
    ...growthGoals(results),
    ...plugGoal(results),
  ];
}

function ratioGoal(results: Results, suite: string, goal: string, limit: number): Goal[] {
  const judged = (results.get(suite) ?? []).filter(
    ({ entry, ratio }) => entry === 'viommu' && ratio !== undefined,
  );
  if (judged.length === 0) return [];
  const ratios = judged.map(({ ratio }) => ratio!);
  const measured = judged.map(({ size }, i) => `${formatCount(size)}: ${ratios[i].toFixed(2)}x`).join(', ');
  return [{ goal, measured, met: Math.max(...ratios) <= limit }];
}

function bytesGoal(results: Results): Goal[] {
  const largest = largestOf(results.get('ledger-bytes') ?? []);
  if (largest.length === 0) return [];
  const bytes = largest.map(({ timing: { facts } }) => facts.arrayBuffers + facts.heap);
  const measured = largest.map(({ entry }, i) => `${entry}: ${threeDigits(bytes[i])}`).join(', ');
  return [{ goal: 'ledger at most 40 bytes a mapping', measured, met: Math.max(...bytes) <= 40 }];
}

/** What an operation costs at 1M mappings in terms of what it costs at 1k. */
function growthGoals(results: Results): Goal[] {
  const ledger = results.get('ledger') ?? [];
  const growth = (entry: string): number | undefined => {
    const [small, large] = [2 ** 10, 2 ** 20].map((size) =>
      ledger.find((r) => r.entry === entry && r.size === size),
    );
    return small === undefined || large === undefined ? undefined : large.timing.cpu / small.timing.cpu;
  };
  return GROWTH.flatMap(({ goal, entries, limit }) => {
    const grown = entries.flatMap((entry) => growth(entry) ?? []);
    if (grown.length < entries.length) return [];
    const measured = entries.map((entry, i) => `${entry}: ${grown[i].toFixed(1)}x`).join(', ');
    return [{ goal, measured, met: Math.max(...grown) <= limit }];
  });
}

const GROWTH: readonly {
  readonly goal: string;
  readonly entries: readonly string[];
  readonly limit: number;
}[] = [
  {
    goal: 'ledger, ascending: 1M at most twice 1k',
    entries: ['insert-ascending'],
    limit: 2,
  },
  {
    // Leaving the processor's caches costs something whatever the code; the benchmark shows how much beside it.
    goal: 'ledger, in no order: 1M at most 3 times 1k',
    entries: ['insert-random', 'find', 'remove'],
    limit: 3,
  },
];

function plugGoal(results: Results): Goal[] {
  const plug = (results.get('plug') ?? []).find(({ entry, size }) => entry === 'plug' && size === 2 ** 20);
  if (plug === undefined) return [];
  const ns = plug.timing.wall * plug.size;
  return [
    {
      goal: '1M mappings replayed into the host in memory in under 1 s',
      measured: formatTime(ns),
      met: ns < 1e9,
    },
  ];
}

function largestOf(results: readonly Result[]): Result[] {
  const largest = Math.max(...results.map(({ size }) => size));
  return results.filter(({ size }) => size === largest);
}
