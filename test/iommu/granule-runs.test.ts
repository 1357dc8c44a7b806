import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GranuleRuns, type Mapping } from '../../src/iommu/index.ts';
import type { Access } from '../../src/memory/index.ts';

const leaf = (iova: number, pages = 1, target = iova, access: Access = 3): Mapping => ({
  iova,
  pages,
  target,
  access,
});

/** `count` leaves of one page from `iova` on. */
function run(iova: number, count: number, target = iova, access: Access = 3): Mapping[] {
  return Array.from({ length: count }, (_, i) => leaf(iova + i, 1, target + i, access));
}

/** What comes out for granules of `granule` pages. */
function grouped(granule: number, leaves: readonly Mapping[]): Mapping[] {
  const out: Mapping[] = [];
  const runs = new GranuleRuns(granule, (mapping) => out.push(mapping));
  for (const each of leaves) runs.push(each);
  runs.flush();
  return out;
}

describe('leaves that form an aligned granule', () => {
  it('become one mapping', () => {
    expect(grouped(16, run(32, 16, 64))).toEqual([leaf(32, 16, 64)]);
  });

  it('of mixed sizes become one mapping', () => {
    expect(grouped(16, [leaf(0, 8), ...run(8, 8)])).toEqual([leaf(0, 16)]);
  });

  it('become one mapping a granule', () => {
    expect(grouped(4, run(0, 8))).toEqual([leaf(0, 4), leaf(4, 4)]);
  });
});

describe('leaves that form none come out as they are', () => {
  it.each([
    ['one is missing', [...run(0, 7), ...run(8, 8)]],
    ['the target jumps', [...run(0, 8), ...run(8, 8, 100)]],
    ['the permissions change', [...run(0, 8), ...run(8, 8, 8, 1)]],
    ['the target is not aligned', run(0, 16, 1)],
    ['the run is not aligned', run(8, 16)],
    ['the run ends too early', run(0, 15)],
  ])('%s', (_why, leaves) => {
    expect(grouped(16, leaves)).toEqual(leaves);
  });

  it('a leaf as large as the granule', () => {
    expect(grouped(16, [leaf(16, 16, 3)])).toEqual([leaf(16, 16, 3)]);
  });

  it('a leaf larger than the granule', () => {
    expect(grouped(16, [leaf(512, 512)])).toEqual([leaf(512, 512)]);
  });

  it('a leaf that was cropped at its start', () => {
    const leaves = [leaf(5, 507), ...run(512, 2)];

    expect(grouped(16, leaves)).toEqual(leaves);
  });

  it('a leaf that was cropped at its end', () => {
    expect(grouped(16, [leaf(0, 20)])).toEqual([leaf(0, 20)]);
  });
});

it('a granule that is whole is found behind one that is not', () => {
  expect(grouped(4, [...run(1, 3), ...run(4, 4)])).toEqual([...run(1, 3), leaf(4, 4)]);
});

/** What one granule should come out as; leaves that reach over its edges are no part of it. */
function expected(granule: number, leaves: readonly Mapping[]): Mapping[] {
  const inside = (index: number) =>
    leaves.filter(({ iova, pages }) => iova >= index * granule && iova + pages <= (index + 1) * granule);
  return leaves.flatMap((each) => {
    const index = Math.floor(each.iova / granule);
    const group = inside(index);
    const [first] = group;
    const covered = group.reduce((sum, { pages }) => sum + pages, 0);
    const isWhole =
      group.includes(each) &&
      covered === granule &&
      first.target % granule === 0 &&
      group.every(
        ({ iova, target, access }) => target - iova === first.target - first.iova && access === first.access,
      );
    if (!isWhole) return [each];
    return each === first ? [{ ...first, pages: granule }] : [];
  });
}

describe('granules against a search of each granule for itself', () => {
  const piece = fc.record({
    gap: fc.constantFrom(0, 0, 0, 0, 0, 1, 3),
    log: fc.nat(5),
    jump: fc.constantFrom(0, 0, 0, 0, 0, 0, 8, 1),
    access: fc.constantFrom<Access>(3, 3, 3, 3, 3, 1),
  });

  it('agrees for any leaves', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 4, 16),
        fc.array(piece, { maxLength: 60, size: 'max' }),
        (granule, pieces) => {
          const leaves: Mapping[] = [];
          let iova = 0;
          let shift = 0;
          for (const { gap, log, jump, access } of pieces) {
            iova += gap;
            shift += jump;
            let pages = 2 ** log;
            while (iova % pages !== 0 || (iova + shift) % pages !== 0) pages /= 2;
            leaves.push(leaf(iova, pages, iova + shift, access));
            iova += pages;
          }

          expect(grouped(granule, leaves)).toEqual(expected(granule, leaves));
        },
      ),
      { numRuns: 500 },
    );
  });
});
