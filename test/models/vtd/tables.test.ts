import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { allLeaves, lookUp, referenceText, secondStageReference } from './brute-force.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { Guest, type GuestOptions } from './table-builder.ts';
import { spanOf, TableTree } from './table-tree.ts';

const RW = 0b11n;
const SIZES = [
  { size: '4 KiB', leafLevel: 1 },
  { size: '2 MiB', leafLevel: 2 },
  { size: '1 GiB', leafLevel: 3 },
] as const;

interface World {
  readonly guest: Guest;
  readonly tables: TableTree;
  readonly region: VtdRegion;
}

/** A legacy-mode requester whose tables have `levels` levels; addresses up to the tables' own width unless MGAW says less. */
function world(levels: number, options: GuestOptions = {}): World {
  const capability = { SAGAW: 0b1110, MGAW: 12 + 9 * levels, ...options.capability };
  const guest = new Guest({ ...options, capability });
  const tables = new TableTree(guest, levels);
  guest.legacy({ root: tables.root, aw: levels - 2 });
  return { guest, tables, region: guest.region() };
}

/** Every place at which a leaf is the first or last entry of a table of some level, up to page `end`. */
function boundaries(leafLevel: number, end: number): number[] {
  const pages = spanOf(leafLevel);
  const places = new Set([0, pages, end - pages]);
  for (let level = leafLevel; 512 * spanOf(level) <= end; level++) {
    const table = 512 * spanOf(level);
    places.add(table - pages);
    if (table < end) places.add(table);
    places.add(end - table);
  }
  return [...places].sort((a, b) => a - b);
}

describe.each([3, 4, 5])('second-stage tables of %i levels', (levels) => {
  const end = 512 ** levels;

  describe.each(SIZES)('with a leaf of $size', ({ leafLevel }) => {
    const pages = spanOf(leafLevel);
    const target = 5 * spanOf(3);

    it.each(boundaries(leafLevel, end))(
      'at page %i translate its first and last page, and no other',
      (iova) => {
        const { tables, region } = world(levels);
        tables.map(iova, leafLevel, target, RW);
        const leaf = leafText(iova, pages, target, Access.ReadWrite);

        expect(walked(region).leaves).toEqual([leaf]);
        expect(translated(region, iova)).toBe(leaf);
        expect(translated(region, iova + pages - 1)).toBe(leaf);
        expect(translated(region, iova === 0 ? pages : iova - 1)).toBe('-');
        expect(translated(region, iova + pages)).toBe(iova + pages === end ? 'LGN.1' : '-');
      },
    );

    it.each(boundaries(leafLevel, end))(
      'at page %i show it whole to a range that only touches it',
      (iova) => {
        const { tables, region } = world(levels);
        tables.map(iova, leafLevel, target, RW);
        const leaf = [leafText(iova, pages, target, Access.ReadWrite)];
        const last = iova + pages - 1;
        const middle = iova + Math.floor(pages / 2);

        expect(walked(region, { start: iova, end: iova + 1 }).leaves).toEqual(leaf);
        expect(walked(region, { start: last, end: PAGES_END }).leaves).toEqual(leaf);
        expect(walked(region, { start: middle, end: middle + 1 }).leaves).toEqual(leaf);
        expect(walked(region, { start: 0, end: iova }).leaves).toEqual([]);
        expect(walked(region, { start: last + 1, end: PAGES_END }).leaves).toEqual([]);
      },
    );
  });

  it('show neighbours of every size in order, and clip a range at both ends in the middle of leaves', () => {
    const { tables, region } = world(levels);
    const gib = spanOf(3);
    tables.map(gib, 3, 8 * gib, RW);
    tables.map(2 * gib, 2, 0x400, RW);
    tables.map(2 * gib + 0x200, 1, 0x77, RW);
    tables.map(2 * gib + 0x201, 1, 0x78, RW);
    tables.map(2 * gib + 0x400, 2, 0x600, RW);
    const all = walked(region).leaves;

    expect(all).toHaveLength(5);
    expect(walked(region, { start: gib + 5, end: 2 * gib + 0x401 }).leaves).toEqual(all);
    expect(walked(region, { start: 2 * gib + 0x1ff, end: 2 * gib + 0x201 }).leaves).toEqual(all.slice(1, 3));
    expect(walked(region, { start: 2 * gib + 0x201, end: 2 * gib + 0x202 }).leaves).toEqual(all.slice(3, 4));
  });

  it('agree page by page with the reference over a window with all sizes and holes', () => {
    const { guest, tables, region } = world(levels);
    for (let page = 0; page < 0x400; page += 3) tables.map(page, 1, 0x8000 + page, page % 2 === 0 ? 1n : 3n);
    tables.map(0x400, 2, 0x1200, 2n);
    tables.map(0x800, 2, 0x1000, RW);
    const reference = secondStageReference(guest, tables.root, levels, false);
    const window = Array.from({ length: 0xa10 }, (_, page) => page);

    const seen = window.map((page) => translated(region, page));

    expect(seen).toEqual(window.map((page) => referenceText(lookUp(reference, BigInt(page)))));
    expect(walked(region).leaves).toEqual(allLeaves(reference).map(referenceText));
  });

  it('cost a walk one reading of each table that leads to something', () => {
    const { tables, region } = world(levels);
    tables.map(0, 1, 1, RW);
    tables.map(512 ** levels - 1, 1, 2, RW);

    const { report } = walked(region);

    expect(report.entries).toBe(512 * (2 * levels - 1));
    expect(report.leaves).toBe(2);
  });

  it('cost a walk of one page one entry of each level', () => {
    const { tables, region } = world(levels);
    tables.map(0x12345, 1, 1, RW);

    expect(walked(region, { start: 0x12345, end: 0x12346 }).report.entries).toBe(levels);
  });

  it('permit what every level permits, in all combinations of levels', () => {
    const { guest, tables, region } = world(levels, { region: { iotlb: false } });
    tables.map(0x12345, 1, 0x77, RW);
    const wrong: string[] = [];

    for (let combination = 0; combination < 4 ** levels; combination++) {
      let access = 3;
      for (let level = 1; level <= levels; level++) {
        const own = Math.floor(combination / 4 ** (level - 1)) % 4;
        tables.setBits(0x12345, level, BigInt(own), RW);
        access &= own;
      }
      const leaf = leafText(0x12345, 1, 0x77, access);
      const seen = [
        translated(region, 0x12345),
        translated(region, 0x12345, Access.Read),
        translated(region, 0x12345, Access.Write),
        translated(region, 0x12345, Access.ReadWrite),
        ...walked(region).leaves,
      ];
      const expected = [
        access === 0 ? '-' : leaf,
        (access & 1) !== 0 ? leaf : 'LGN.3',
        (access & 2) !== 0 ? leaf : 'LGN.2',
        access === 3 ? leaf : (access & 2) === 0 ? 'LGN.2' : 'LGN.3',
        ...(access === 0 ? [] : [leaf]),
      ];
      if (seen.join() !== expected.join()) wrong.push(`${combination.toString(4)}: ${seen.join()}`);
    }

    expect(wrong).toEqual([]);
    // Of three accesses to each combination, those that all levels agree to are not faults.
    expect(takeFaults(guest)).toHaveLength(3 * 4 ** levels - (2 * 2 ** levels + 1));
  });
});

describe('the guest address width', () => {
  const WIDTHS = [
    { levels: 3, MGAW: 36 },
    { levels: 3, MGAW: 39 },
    { levels: 4, MGAW: 39 },
    { levels: 4, MGAW: 46 },
    { levels: 4, MGAW: 48 },
    { levels: 4, MGAW: 57 },
    { levels: 5, MGAW: 48 },
    { levels: 5, MGAW: 52 },
    { levels: 5, MGAW: 57 },
  ] as const;

  it.each(WIDTHS)('of $MGAW bits ends what $levels levels translate', ({ levels, MGAW }) => {
    const { tables, region } = world(levels, { capability: { MGAW } });
    const end = 2 ** (Math.min(MGAW, 12 + 9 * levels) - 12);
    tables.map(end - 1, 1, 0x77, RW);
    if (end < 512 ** levels) tables.map(end, 1, 0x78, RW);

    expect(walked(region).leaves).toEqual([leafText(end - 1, 1, 0x77, Access.ReadWrite)]);
    expect(translated(region, end - 1, Access.Read)).toBe(leafText(end - 1, 1, 0x77, Access.ReadWrite));
    expect(translated(region, end, Access.Read)).toBe('LGN.1');
    expect(translated(region, PAGES_END - 1, Access.Read)).toBe('LGN.1');
  });

  it('is judged before any table is read', () => {
    const { guest, region } = world(4);
    guest.legacy({ root: 0x50000, aw: 2 });

    expect(translated(region, 2 ** 36 - 1)).toBe('LCT.4');
    expect(translated(region, 2 ** 36)).toBe('LGN.1');
  });
});

describe('IOTLB', () => {
  it('does not let a read stand in the way of a later write', () => {
    const { tables, region } = world(4);
    tables.map(0x400, 2, 0x600, RW);

    translated(region, 0x400, Access.Read);

    expect(translated(region, 0x5ff, Access.Write)).toBe(leafText(0x400, 0x200, 0x600, Access.ReadWrite));
  });

  it('keeps what the guest changed until it is told', () => {
    const { tables, region } = world(4);
    tables.map(0x400, 1, 0x600, RW);
    translated(region, 0x400, Access.Write);
    tables.map(0x400, 1, 0x601, RW);

    const before = translated(region, 0x400, Access.Write);
    region.invalidate({ start: 0x400, end: 0x401 });

    expect(before).toBe(leafText(0x400, 1, 0x600, Access.ReadWrite));
    expect(translated(region, 0x400, Access.Write)).toBe(leafText(0x400, 1, 0x601, Access.ReadWrite));
  });
});
