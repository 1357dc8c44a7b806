import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { done, leafText } from './driver-leaves.ts';
import { apply, expected, Reference, type Step } from './driver-reference.ts';
import { DriverMachine, NIC } from './vtd-driver-machine.ts';

const SIZES = [2 ** 18, 512, 1] as const;

/** Places near the borders of tables of every level, so that steps meet each other and every level has its turn. */
function stepOf(end: number): fc.Arbitrary<Step> {
  const region = fc.constantFrom(0, 2 ** 18, 2 ** 27 - 2 ** 18, end - 2 ** 18);
  const near = fc.oneof(
    fc.integer({ min: 0, max: 6 }),
    fc.integer({ min: 0, max: 5 }).map((i) => i * 512),
    fc.integer({ min: 0, max: 6 }).map((i) => 512 - 3 + i),
    fc.integer({ min: 2 ** 18 - 4, max: 2 ** 18 - 1 }),
  );
  const iova = fc.tuple(region, near).map(([start, offset]) => start + offset);
  const pages = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(512, 513, 1024, 2 ** 18));
  const access = fc.constantFrom(Access.Read, Access.Write, Access.ReadWrite);
  const inside = <T extends { iova: number; pages: number }>(step: T): T => ({
    ...step,
    pages: Math.min(step.pages, end - step.iova),
  });
  const target = fc.oneof(near, fc.constantFrom(512, 2 ** 18, 3 * 2 ** 18));
  const natural = fc.record({ op: fc.constant('map' as const), iova, pages, target, access }).map((step) =>
    // A GiB in 4 KiB leaves would take most of the time and test nothing new.
    inside({
      ...step,
      pages: step.target % 512 === step.iova % 512 ? step.pages : Math.min(step.pages, 1024),
    }),
  );
  const forced = fc
    .record({
      region,
      index: fc.integer({ min: 0, max: 2 }),
      leafPages: fc.constantFrom(...SIZES),
      target: fc.nat(6),
      access,
    })
    .map(({ region, index, leafPages, target, access }) => ({
      op: 'map' as const,
      iova: Math.min(region + index * leafPages, end - leafPages),
      pages: leafPages,
      target: target * leafPages,
      access,
      leafPages,
    }));
  const unmap = fc.record({ op: fc.constant('unmap' as const), iova, pages }).map(inside);
  const wide = region.map((start) => ({ op: 'unmap' as const, iova: start, pages: 2 ** 18 }));
  const remap = fc.record({ op: fc.constant('remap' as const), iova, pages, access }).map(inside);
  return fc.oneof(
    { weight: 4, arbitrary: natural },
    { weight: 4, arbitrary: forced },
    { weight: 3, arbitrary: unmap },
    { weight: 1, arbitrary: wide },
    { weight: 1, arbitrary: remap },
  );
}

const CASES = (['legacy', 'scalable'] as const).flatMap((mode) =>
  ([3, 4, 5] as const).map((levels) => [mode, levels] as const),
);

describe.each(CASES)('tables written in %s mode with %i levels', (mode, levels) => {
  it('are those that the model walks, and what a shadow was told of them', () => {
    fc.assert(
      fc.property(fc.array(stepOf(2 ** (9 * levels)), { maxLength: 30 }), (steps) => {
        const machine = new DriverMachine();
        const { driver } = machine;
        done(driver.boot({ mode }));
        const domain = driver.createDomain({ levels });
        done(driver.attachDevice(NIC, domain));
        const sink = new StrictSink();
        machine.unit.requesterSpace(NIC).region.registerNotifierReplay(sink, 4096n, false);
        const reference = new Reference(SIZES);

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
      fc.property(fc.array(stepOf(2 ** (9 * levels)), { maxLength: 30 }), (steps) => {
        const machine = new DriverMachine();
        const { driver, allocator } = machine;
        done(driver.boot({ mode }));
        const before = allocator.available;
        const domain = driver.createDomain({ levels });
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
