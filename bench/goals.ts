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
    ...growthGoal(results),
    ...plugGoal(results),
  ];
}

function ratioGoal(results: Results, suite: string, goal: string, limit: number): Goal[] {
  const judged = (results.get(suite) ?? []).filter(({ entry, ratio }) => entry === 'viommu' && ratio !== undefined);
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

/** Flat: a thousand times the mappings, at most three times the cost, which is what leaving the processor's caches costs. */
function growthGoal(results: Results): Goal[] {
  const ledger = results.get('ledger') ?? [];
  const smallest = ledger.filter(({ size }) => size === 2 ** 10);
  const largest = ledger.filter(({ size }) => size === 2 ** 20);
  if (smallest.length === 0 || largest.length === 0) return [];
  const growth = largest.map(({ timing }, i) => timing.cpu / smallest[i].timing.cpu);
  const measured = largest.map(({ entry }, i) => `${entry}: ${growth[i].toFixed(1)}x`).join(', ');
  return [
    { goal: 'ledger operations at 1M at most 3 times those at 1k', measured, met: Math.max(...growth) <= 3 },
  ];
}

function plugGoal(results: Results): Goal[] {
  const plug = (results.get('plug') ?? []).find(({ entry, size }) => entry === 'plug' && size === 2 ** 20);
  if (plug === undefined) return [];
  const ns = plug.timing.wall * plug.size;
  return [
    { goal: '1M mappings replayed into the host in memory in under 1 s', measured: formatTime(ns), met: ns < 1e9 },
  ];
}

function largestOf(results: readonly Result[]): Result[] {
  const largest = Math.max(...results.map(({ size }) => size));
  return results.filter(({ size }) => size === largest);
}
