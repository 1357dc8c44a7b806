import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MachineRun } from './random/machine-run.ts';
import { start, steps } from './random/arbitraries.ts';

const DEFAULT_RUNS = 300;
/** VIOMMU_RUNS multiplies how many random guests are tried. */
const RUNS = Math.ceil(DEFAULT_RUNS * Number(process.env['VIOMMU_RUNS'] ?? 1));

test(
  'whatever a guest and its operator do, hosts hold what the guest has mapped and nothing that it has withdrawn',
  async () => {
    let carriedOut = 0;
    await fc.assert(
      fc.asyncProperty(start, steps, async (begin, plan) => {
        const run = await MachineRun.boot(begin);
        for (const step of plan) await run.take(step);
        await run.end();
        carriedOut += plan.length;
      }),
      { numRuns: RUNS },
    );
    expect(carriedOut).toBeGreaterThan(RUNS);
  },
  (60_000 * Math.max(RUNS, DEFAULT_RUNS)) / DEFAULT_RUNS,
);
