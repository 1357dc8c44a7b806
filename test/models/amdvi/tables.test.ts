import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import type { AmdviRegion } from '../../../src/models/amdvi/index.ts';
import { AmdviGuest, DEVICE, RAM_PAGES } from './amdvi-guest.ts';
import { leafText, translated, walked } from './observe.ts';
import { lookUp, type ReadEntry } from './reference.ts';

/** A device whose tables have `mode` levels, in an IOMMU that runs. */
function world(
  mode: number,
  access = 3,
): { readonly guest: AmdviGuest; readonly root: number; readonly region: AmdviRegion } {
  const guest = new AmdviGuest({ guestStopped: true, iotlb: false });
  const root = guest.table();
  guest.entry(DEVICE, { mode, root, access });
  guest.start();
  return { guest, root, region: guest.iommu.requesterSpace(DEVICE).region };
}

/** Every place at which a page of the size is the first or the last of some table, below page `end`. */
function boundaries(pages: number, end: number): number[] {
  const places = new Set([0, end - pages]);
  for (let table = pages; table <= end; table *= 512) {
    places.add(table - pages);
    if (table < end) places.add(table);
    places.add(end - table);
  }
  return [...places].filter((place) => place >= 0 && place % pages === 0).sort((a, b) => a - b);
}

/** Sizes by log2 of their pages: 4 KiB to 2^52 bytes, those of levels and those between. */
const SIZES = [0, 1, 4, 8, 9, 10, 13, 17, 18, 19, 26, 27, 35].map((log) => ({ log, pages: 2 ** log }));

describe.each([1, 2, 3, 4, 5, 6])('tables of %i levels', (mode) => {
  const end = Math.min(512 ** mode, PAGES_END);
  const cases = SIZES.filter(({ pages }) => pages * 2 <= end && pages < 512 ** mode).flatMap(
    ({ log, pages }) => boundaries(pages, end).map((iova) => ({ log, pages, iova })),
  );

  it.each(cases)('translate a page of 2^$log pages at $iova and no other', ({ pages, iova }) => {
    const { guest, root, region } = world(mode);
    const target = pages * 3 < 2 ** 40 ? pages * 3 : 0;
    guest.map(root, mode, iova, pages, target);
    const leaf = leafText(iova, pages, target, Access.ReadWrite);

    expect(walked(region).leaves).toEqual([leaf]);
    expect(translated(region, iova)).toBe(leaf);
    expect(translated(region, iova + pages - 1)).toBe(leaf);
    expect(translated(region, iova === 0 ? pages : iova - 1)).toBe('-');
    const behind = iova + pages;
    const outside = behind === end && end < PAGES_END ? 'fault 2000' : '-';
    expect(behind === PAGES_END ? '-' : translated(region, behind)).toBe(
      behind === PAGES_END ? '-' : outside,
    );
  });

  it.each(cases)(
    'show a page of 2^$log pages at $iova whole to a range that touches it',
    ({ pages, iova }) => {
      const { guest, root, region } = world(mode);
      guest.map(root, mode, iova, pages, 0);
      const leaf = [leafText(iova, pages, 0, Access.ReadWrite)];
      const last = iova + pages - 1;
      const middle = iova + Math.floor(pages / 2);

      expect(walked(region, { start: iova, end: iova + 1 }).leaves).toEqual(leaf);
      expect(walked(region, { start: middle, end: middle + 1 }).leaves).toEqual(leaf);
      expect(walked(region, { start: last, end: PAGES_END }).leaves).toEqual(leaf);
      expect(walked(region, { start: 0, end: iova }).leaves).toEqual([]);
      expect(walked(region, { start: last + 1, end: PAGES_END }).leaves).toEqual([]);
    },
  );
});

describe('permissions', () => {
  it.each([
    { entry: 3, upper: 3, leaf: 1, all: 1 },
    { entry: 3, upper: 2, leaf: 3, all: 2 },
    { entry: 1, upper: 3, leaf: 3, all: 1 },
    { entry: 2, upper: 3, leaf: 3, all: 2 },
    { entry: 2, upper: 3, leaf: 1, all: 0 },
    { entry: 3, upper: 0, leaf: 3, all: 0 },
    { entry: 0, upper: 3, leaf: 3, all: 0 },
  ])(
    '$entry of the device, $upper of a table and $leaf of a page are $all',
    ({ entry, upper, leaf, all }) => {
      const { guest, root, region } = world(2, entry);
      const table = guest.table();
      guest.poke(root, 0, (BigInt(table) << 12n) | (1n << 9n) | (BigInt(upper) << 61n) | 1n);
      guest.poke(table, 5, (0x800n << 12n) | (BigInt(leaf) << 61n) | 1n);
      const text = leafText(5, 1, 0x800, all);

      expect(walked(region).leaves).toEqual(all === 0 ? [] : [text]);
      expect(translated(region, 5, Access.Read)).toBe((all & 1) === 0 ? 'fault 2050' : text);
      expect(translated(region, 5, Access.Write)).toBe((all & 2) === 0 ? 'fault 2050' : text);
    },
  );
});

describe('levels that are skipped', () => {
  it('leave only addresses whose skipped bits are zero', () => {
    const { guest, root, region } = world(4);
    const table = guest.table();
    // From level 4 to level 1: bits 38:21 of an address must be zero.
    guest.poke(root, 1, (BigInt(table) << 12n) | (1n << 9n) | (3n << 61n) | 1n);
    guest.poke(table, 7, (0x900n << 12n) | (3n << 61n) | 1n);
    const base = 512 ** 3;

    expect(walked(region).leaves).toEqual([leafText(base + 7, 1, 0x900, 3)]);
    expect(translated(region, base + 7)).toBe(leafText(base + 7, 1, 0x900, 3));
    expect(translated(region, base + 512 + 7)).toBe('-');
    expect(translated(region, base + 512 ** 2 + 7, Access.Read)).toBe('fault 2010');
    expect(translated(region, base + 8, Access.Read)).toBe('fault 2000');
  });

  it('may be skipped more than once', () => {
    const { guest, root, region } = world(6);
    const [middle, last] = [guest.table(), guest.table()];
    guest.poke(root, 3, (BigInt(middle) << 12n) | (3n << 9n) | (3n << 61n) | 1n);
    guest.poke(middle, 4, (BigInt(last) << 12n) | (1n << 9n) | (3n << 61n) | 1n);
    guest.poke(last, 5, (0x900n << 12n) | (3n << 61n) | 1n);
    const iova = 3 * 512 ** 5 + 4 * 512 ** 2 + 5;

    expect(walked(region).leaves).toEqual([leafText(iova, 1, 0x900, 3)]);
    expect(translated(region, iova)).toBe(leafText(iova, 1, 0x900, 3));
  });
});

describe('entries that are in error', () => {
  it.each([
    { what: 'NextLevel of its own level', entry: (2n << 9n) | (3n << 61n) | 1n, code: '2010' },
    { what: 'NextLevel above its own', entry: (6n << 9n) | (3n << 61n) | 1n, code: '2010' },
    { what: 'an encoded size below its level', entry: (7n << 9n) | (3n << 61n) | 1n, code: '2010' },
    { what: 'an encoded size of its level', entry: (0xffn << 12n) | (7n << 9n) | 1n, code: '2010' },
    { what: 'an encoded size of the level above', entry: (0x1_ffffn << 12n) | (7n << 9n) | 1n, code: '2010' },
    { what: 'no encoded size', entry: (0xff_ffff_ffffn << 12n) | (7n << 9n) | 1n, code: '2010' },
    { what: 'bit 52 of a page', entry: (1n << 52n) | (3n << 61n) | 1n, code: '2090' },
    { what: 'bit 58 of a page', entry: (1n << 58n) | (3n << 61n) | 1n, code: '2090' },
    { what: 'bit 59 of a table', entry: (1n << 59n) | (1n << 9n) | (3n << 61n) | 1n, code: '2090' },
    { what: 'a table outside RAM', entry: (0x50000n << 12n) | (1n << 9n) | (3n << 61n) | 1n, code: '4200' },
  ])('$what hides what the entry stands for', ({ entry, code }) => {
    const { guest, root, region } = world(2);
    guest.poke(root, 1, entry);
    guest.map(root, 2, 3, 1, 0x800);

    const { leaves, faults } = walked(region);

    expect(leaves).toEqual([leafText(3, 1, 0x800, 3)]);
    expect(faults).toEqual([`200+200 ${code}`]);
    expect(translated(region, 0x205, Access.Read)).toBe(`fault ${code}`);
  });

  it('U, FC and ignored bits are none', () => {
    const { guest, root, region } = world(1);
    guest.poke(root, 9, (1n << 63n) | (7n << 60n) | (3n << 59n) | (0x1fen & ~1n) | (0x800n << 12n) | 1n);

    expect(walked(region).leaves).toEqual([leafText(9, 1, 0x800, 3)]);
  });

  it('a page of its level with address bits below it uses none of them', () => {
    const { guest, root, region } = world(2);
    guest.poke(root, 1, (0xa01n << 12n) | (3n << 61n) | 1n);

    expect(walked(region).leaves).toEqual([leafText(0x200, 0x200, 0xa00, 3)]);
    expect(translated(region, 0x3ff)).toBe(leafText(0x200, 0x200, 0xa00, 3));
  });
});

describe('hostile tables', () => {
  it('that point at themselves end with the levels', () => {
    const { guest, root, region } = world(6);
    const tables = [3, 2, 1].map((next) => (BigInt(root) << 12n) | (BigInt(next) << 9n) | (3n << 61n) | 1n);
    tables.forEach((entry, i) => guest.poke(root, i, entry));

    const { report } = walked(region);

    expect(report.cutAt).toBeUndefined();
    expect(report.entries).toBeLessThan(10_000);
  });

  it('that multiply are cut by the budget', () => {
    const { guest, root, region } = world(4);
    const tables = [root, guest.table(), guest.table(), guest.table()];
    const fill = (at: number): void => {
      const entry = (BigInt(tables[at + 1] ?? 0x800) << 12n) | (BigInt(3 - at) << 9n) | (3n << 61n) | 1n;
      for (let i = 0; i < 512; i++) guest.poke(tables[at], i, entry);
    };
    [0, 1, 2, 3].forEach(fill);

    const { report } = walked(region, undefined, { entries: 10_000, leaves: 5000 });

    expect(report.cutAt).toBe(5000);
  });
});

describe('random entries', () => {
  /** Entries of which some are sound, some nearly, and some anything at all. */
  const entry = fc.oneof(
    fc.constant(0n),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc
      .record({
        page: fc.oneof(fc.integer({ min: 0x100, max: 0x107 }), fc.integer({ min: 0, max: 2 ** 40 - 1 })),
        next: fc.integer({ min: 0, max: 7 }),
        access: fc.integer({ min: 0, max: 3 }),
        ones: fc.integer({ min: 0, max: 40 }),
      })
      .map(({ page, next, access, ones }) => {
        const low = next === 7 ? (1n << BigInt(ones)) - 1n : 0n;
        const field = ((BigInt(page) & ~low) | low) & 0xff_ffff_ffffn;
        return (field << 12n) | (BigInt(next) << 9n) | (BigInt(access) << 61n) | 1n;
      }),
  );

  it('translate as the reference does', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 3 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 3 }), entry), {
          maxLength: 24,
        }),
        fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 6, maxLength: 6 }), {
          minLength: 1,
          maxLength: 12,
        }),
        (mode, access, entries, places) => {
          const { guest, region } = world(mode, access);
          guest.entry(DEVICE, { mode, root: 0x100, access });
          for (const [table, index, value] of entries) guest.poke(0x100 + table, index, value);
          const read: ReadEntry = (table, index) =>
            table < BigInt(RAM_PAGES) ? guest.peek(Number(table), Number(index)) : undefined;
          const pages = places.map(
            (indexes) => indexes.reduce((page, index) => page * 512 + index, 0) % PAGES_END,
          );

          const seen = pages.map((page) => translated(region, page));

          expect(seen).toEqual(pages.map((page) => lookUp({ root: 0x100, mode, access }, read, page)));
        },
      ),
    );
  });
});
