import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import { Iotlb } from '../../src/iommu/index.ts';
import { Access, ALL_PAGES, type IommuTlbEntry, PAGES_END } from '../../src/memory/index.ts';

const entry = (iova: number, pages = 1, target = iova, access: Access = 3): IommuTlbEntry => ({
  iova,
  pages,
  target,
  access,
});

function iotlbOf(...entries: IommuTlbEntry[]): Iotlb {
  const iotlb = new Iotlb();
  for (const each of entries) iotlb.insert(each, each.access, 0);
  return iotlb;
}

describe('an IOTLB', () => {
  it('knows nothing at first', () => {
    expect(new Iotlb().lookup(0, Access.Read, 0)).toBeUndefined();
  });

  it('remembers a leaf for each page of it', () => {
    const iotlb = iotlbOf(entry(512, 512, 1024));

    expect(iotlb.lookup(700, Access.Read, 0)).toEqual(entry(512, 512, 1024));
  });

  it('remembers the last page of 64 bits', () => {
    expect(iotlbOf(entry(PAGES_END - 1)).lookup(PAGES_END - 1, Access.Write, 0)).toEqual(
      entry(PAGES_END - 1),
    );
  });

  it('does not answer for more than was remembered to be allowed', () => {
    const iotlb = iotlbOf(entry(5, 1, 5, Access.Read));

    expect(iotlb.lookup(5, Access.Write, 0)).toBeUndefined();
  });

  it('keeps indexes apart', () => {
    expect(iotlbOf(entry(5)).lookup(5, Access.Read, 1)).toBeUndefined();
  });

  it('does not take page 0 for an empty place', () => {
    expect(new Iotlb().lookup(0, Access.None, 0)).toBeUndefined();
  });

  it('does not remember what allows nothing', () => {
    expect(iotlbOf(entry(5, 1, 5, Access.None)).lookup(5, Access.None, 0)).toBeUndefined();
  });

  it.each([
    [3, 3],
    [1, 2],
  ])('does not remember %d+%d, which is no leaf', (iova, pages) => {
    expect(iotlbOf(entry(iova, pages)).lookup(iova, Access.Read, 0)).toBeUndefined();
  });

  it('prefers what was remembered last', () => {
    expect(iotlbOf(entry(5, 1, 5), entry(5, 1, 9)).lookup(5, Access.Read, 0)?.target).toBe(9);
  });

  it.each([
    [512, 513],
    [1023, 1024],
    [0, 513],
    [700, 701],
  ])('forgets the whole leaf when %d-%d is invalidated', (start, end) => {
    const iotlb = iotlbOf(entry(512, 512));

    iotlb.invalidate({ start, end });

    expect(iotlb.lookup(600, Access.Read, 0)).toBeUndefined();
  });

  it('keeps the neighbours of what is invalidated', () => {
    const iotlb = iotlbOf(entry(4), entry(5), entry(6));

    iotlb.invalidate({ start: 5, end: 6 });

    expect([4, 5, 6].map((page) => iotlb.lookup(page, Access.Read, 0) !== undefined)).toEqual([
      true,
      false,
      true,
    ]);
  });

  it('forgets leaves of every size and index when everything is invalidated', () => {
    const iotlb = iotlbOf(entry(5), entry(512, 512), entry(2 ** 18, 2 ** 18), entry(PAGES_END - 1));
    iotlb.insert(entry(6), 3, 77);

    iotlb.invalidate(ALL_PAGES);

    const left = [5, 512, 2 ** 18, PAGES_END - 1].map((page) => iotlb.lookup(page, Access.Read, 0));
    expect([...left, iotlb.lookup(6, Access.Read, 77)]).toEqual(Array.from({ length: 5 }));
  });
});

/** Every leaf that was inserted and not invalidated since; an IOTLB may know less, never more. */
class Remembered {
  #entries: { entry: IommuTlbEntry; index: number }[] = [];

  insert(entry: IommuTlbEntry, index: number): void {
    this.#entries.push({ entry, index });
  }

  invalidate(start: number, end: number): void {
    this.#entries = this.#entries.filter(
      ({ entry: { iova, pages } }) => iova + pages <= start || iova >= end,
    );
  }

  knows(found: IommuTlbEntry, page: number, access: Access, index: number): boolean {
    return this.#entries.some(
      ({ entry, index: known }) =>
        known === index &&
        entry.iova === found.iova &&
        entry.pages === found.pages &&
        entry.target === found.target &&
        entry.access === found.access &&
        (found.access & access) === access &&
        page >= found.iova &&
        page < found.iova + found.pages,
    );
  }
}

describe('an IOTLB over any inserts and invalidations', () => {
  const sizes = fc.constantFrom(1, 1, 1, 16, 512, 2 ** 18);
  // Leaves 1,024 apart share a place, so few bases give many conflicts.
  const page = fc
    .tuple(fc.nat(3), fc.nat(3), fc.constantFrom(0, PAGES_END / 2))
    .map(([low, high, far]) => far + low + high * 1024);
  const index = fc.nat(2);
  const step = fc.oneof(
    fc.record({
      does: fc.constant('insert' as const),
      page,
      size: sizes,
      index,
      access: fc.constantFrom<Access>(1, 2, 3),
    }),
    fc.record({
      does: fc.constant('invalidate' as const),
      page,
      pages: fc.constantFrom(1, 2, 16, 1024, 2000, 2 ** 30),
    }),
    fc.record({ does: fc.constant('look' as const), page, index, access: fc.constantFrom<Access>(1, 2, 3) }),
  );

  it('never answers with what was invalidated, belongs to another index or allows less', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const iotlb = new Iotlb();
        const remembered = new Remembered();
        for (const [i, taken] of steps.entries()) {
          if (taken.does === 'insert') {
            const iova = Math.floor(taken.page / taken.size) * taken.size;
            const leaf = { iova, pages: taken.size, target: i, access: taken.access };
            iotlb.insert(leaf, taken.access, taken.index);
            remembered.insert(leaf, taken.index);
            // What is cached is what is there now.
            assert.isDefined(iotlb.lookup(taken.page, taken.access, taken.index));
          } else if (taken.does === 'invalidate') {
            const end = Math.min(PAGES_END, taken.page + taken.pages);
            iotlb.invalidate({ start: taken.page, end });
            remembered.invalidate(taken.page, end);
          } else {
            const found = iotlb.lookup(taken.page, taken.access, taken.index);
            const isRight =
              found === undefined || remembered.knows(found, taken.page, taken.access, taken.index);
            assert.isTrue(isRight);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
