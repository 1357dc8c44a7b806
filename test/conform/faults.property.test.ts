/** Whichever call of a host fails, and however: the whole step or nothing of it, and the guest knows. @module */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { failAtEveryCall } from './faults/every-call.ts';
import { FAULT_GUESTS } from './faults/fault-guests.ts';

/** VIOMMU_RUNS multiplies how many guests are tried, each of which is some forty runs. */
const RUNS = Math.ceil(Number(process.env['VIOMMU_RUNS'] ?? 1));

describe('a failure at every call of the hosts in turn', () => {
  test.each(FAULT_GUESTS)('$title', async ({ title: _title, ...guest }) => {
    await fc.assert(
      fc.asyncProperty(fc.noShrink(fc.integer()), async (seed) => {
        const { finding } = await failAtEveryCall(seed, guest);

        expect(finding).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  });
});
