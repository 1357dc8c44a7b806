import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { AmdviDriverMachine, DEVICE_TABLE_PAGES as deviceTablePages, NIC } from './amdvi-driver-machine.ts';
import { done, leafText } from './driver-leaves.ts';
import { apply, expected, Reference, type Step } from './driver-reference.ts';

/** Leaves of every power of two up to 2 GiB: no step maps more. */
const SIZES = Array.from({ length: 20 }, (_, i) => 2 ** (19 - i));

/** Places near the borders of tables of every level, so that steps meet each other and every level has its turn. */
function stepOf(end: number): fc.Arbitrary<Step> {
  const regions = [0, 2 ** 18, 2 ** 27 - 2 ** 18, end - 2 ** 18].map((start) => Math.max(0, start));
  const region = fc.constantFrom(...regions.map((start) => Math.min(start, Math.max(0, end - 2 ** 18))));
  const near = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 5 }).map((i) => i * 512),
    fc.integer({ min: 0, max: 6 }).map((i) => 512 - 3 + i),
    fc.integer({ min: 2 ** 18 - 4, max: 2 ** 18 - 1 }),
  );
  const iova = fc.tuple(region, near).map(([start, offset]) => Math.min(start + offset, end - 1));
  const pages = fc.oneof(
    fc.integer({ min: 1, max: 40 }),
    fc.constantFrom(64, 256, 512, 513, 1024, 4096, 2 ** 18),
  );
  const access = fc.constantFrom(Access.Read, Access.Write, Access.ReadWrite);
  const skipLevels = fc.boolean();
  const inside = <T extends { iova: number; pages: number }>(step: T): T => ({
    ...step,
    pages: Math.min(step.pages, end - step.iova),
  });
  const target = fc.oneof(near, fc.constantFrom(512, 2 ** 18, 3 * 2 ** 18));
  const natural = fc
    .record({ op: fc.constant('map' as const), iova, pages, target, access, skipLevels })
    // A GiB in small leaves would take most of the time and test nothing new.
    .map((step) =>
      inside({
        ...step,
        pages: step.target % 512 === step.iova % 512 ? step.pages : Math.min(step.pages, 1024),
      }),
    );
  const forced = fc
    .record({ region, index: fc.nat(2), order: fc.nat(18), target: fc.nat(6), access, skipLevels })
    .map(({ region, index, order, target, access, skipLevels }) => {
      const leafPages = Math.min(2 ** order, end / 2);
      return {
        op: 'map' as const,
        iova: Math.min(Math.floor(region / leafPages + index) * leafPages, end - leafPages),
        pages: leafPages,
        target: target * leafPages,
        access,
        leafPages,
        skipLevels,
      };
    });
  const unmap = fc.record({ op: fc.constant('unmap' as const), iova, pages }).map(inside);
  const wide = region.map((start) => inside({ op: 'unmap' as const, iova: start, pages: 2 ** 18 }));
  const remap = fc.record({ op: fc.constant('remap' as const), iova, pages, access }).map(inside);
  return fc.oneof(
    { weight: 4, arbitrary: natural },
    { weight: 4, arbitrary: forced },
    { weight: 3, arbitrary: unmap },
    { weight: 1, arbitrary: wide },
    { weight: 1, arbitrary: remap },
  );
}

describe.each([1, 2, 3, 4, 5, 6] as const)('tables written with mode %i', (mode) => {
  const end = Math.min(512 ** mode, 2 ** 52);

  it('are those that the model walks, and what a shadow was told of them', () => {
    fc.assert(
      fc.property(fc.array(stepOf(end), { maxLength: 30 }), (steps) => {
        const machine = new AmdviDriverMachine();
        const { driver } = machine;
        done(driver.boot({ deviceTablePages }));
        const domain = driver.createDomain({ mode });
        done(driver.attachDevice(NIC, domain));
        const sink = new StrictSink();
        machine.unit.requesterSpace(NIC).region.registerNotifierReplay(sink, 4096n, false);
        const reference = new Reference(SIZES.filter((size) => size < end));

        for (const step of steps) {
          expect(apply(driver, domain, step)).toBe(expected(reference, step));
          expect(machine.leaves(NIC)).toEqual(reference.texts);
          const held = sink.held.map(({ iova, pages, target, access }) =>
            leafText(iova, pages, target, access),
          );
          expect(held).toEqual(reference.texts);
        }
        expect(sink.violations).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('give every page back in the end', () => {
    fc.assert(
      fc.property(fc.array(stepOf(end), { maxLength: 30 }), (steps) => {
        const { driver, allocator } = new AmdviDriverMachine();
        done(driver.boot({ deviceTablePages }));
        const before = allocator.available;
        const domain = driver.createDomain({ mode });
        for (const step of steps) apply(driver, domain, step);

        done(driver.unmap(domain, 0, domain.end));
        const root = before - allocator.available;
        driver.freeDomain(domain);

        expect(root).toBe(1);
        expect(allocator.available).toBe(before);
      }),
      { numRuns: 40 },
    );
  });
});
