import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../../src/memory/index.ts';
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { Guest, SCALABLE_CAPABILITY } from './table-builder.ts';
import { FIRST_STAGE_TABLE, spanOf, TableTree } from './table-tree.ts';

/** P, R/W, U/S. */
const USER_RW = 0b111n;

interface World {
  readonly guest: Guest;
  readonly tables: TableTree;
  readonly region: VtdRegion;
}

function world(levels: number, capability: Partial<Capability> = {}, haw = 46): World {
  const guest = new Guest({
    haw,
    capability: { ...SCALABLE_CAPABILITY, ...capability },
    region: { iotlb: false },
  });
  const tables = new TableTree(guest, levels, FIRST_STAGE_TABLE);
  guest.scalable({ pgtt: 0b001, fspm: levels - 4, firstStage: tables.root });
  return { guest, tables, region: guest.region() };
}

/** The bits that turn the entry of `level` into a fault `condition`, when set in addition to those it has. */
function faultingBits({ tables, region }: World, iova: number, level: number, condition: string): number[] {
  const sound = tables.getEntry(iova, level);
  const bits: number[] = [];
  for (let bit = 0; bit < 64; bit++) {
    tables.setEntry(iova, level, sound | (1n << BigInt(bit)));
    if (translated(region, iova) === condition) bits.push(bit);
    tables.setEntry(iova, level, sound);
  }
  return bits;
}

function bits(msb: number, lsb: number): number[] {
  return Array.from({ length: msb - lsb + 1 }, (_, i) => lsb + i);
}

/** Where the leaf number `i` of a test lies, clear of the interrupt range. */
const target = (i: number): number => (i + 8) * spanOf(3);

describe.each([4, 5])('first-stage tables of %i levels', (levels) => {
  const half = 512 ** levels / 2;
  const upper = PAGES_END - half;

  it.each([1, 2, 3])('translate the ends of both canonical halves with leaves of level %i', (leafLevel) => {
    const { tables, region } = world(levels);
    const pages = spanOf(leafLevel);
    const places = [0, half - pages, upper, PAGES_END - pages];
    for (const [i, iova] of places.entries()) tables.map(iova, leafLevel, target(i), USER_RW);
    const leaves = places.map((iova, i) => leafText(iova, pages, target(i), Access.ReadWrite));

    expect(walked(region).leaves).toEqual(leaves);
    expect(places.map((iova) => translated(region, iova, Access.Write))).toEqual(leaves);
    expect(places.map((iova) => translated(region, iova + pages - 1, Access.Read))).toEqual(leaves);
  });

  it.each([half, half + 1, PAGES_END / 2, upper - 1])('refuse page %i, which is not canonical', (page) => {
    const { guest, tables, region } = world(levels);
    // Every table is this one, so every address that got as far as tables would be translated.
    const self = (BigInt(tables.root) << 12n) | USER_RW;
    for (let i = 0; i < 512; i++) tables.setEntry(i * spanOf(levels), levels, self);

    expect(translated(region, page)).toBe('SGN.1');
    expect(translated(region, page, Access.Read)).toBe('SGN.1');
    expect(takeFaults(guest)).toEqual(['SGN.1']);
  });

  it('show a range across the hole only what is canonical', () => {
    const { tables, region } = world(levels);
    tables.map(half - 1, 1, 0x10, USER_RW);
    tables.map(upper, 1, 0x20, USER_RW);

    const { leaves, report } = walked(region, { start: half - 1, end: upper + 1 });

    expect(leaves).toEqual([leafText(half - 1, 1, 0x10, 3), leafText(upper, 1, 0x20, 3)]);
    expect(report.entries).toBe(2 * levels);
  });

  it('show the last page to a range that ends at 2^64', () => {
    const { tables, region } = world(levels);
    tables.map(PAGES_END - 1, 1, 0x10, USER_RW);

    expect(walked(region, { start: PAGES_END - 1, end: PAGES_END }).leaves).toEqual([
      leafText(PAGES_END - 1, 1, 0x10, 3),
    ]);
  });

  it('permit what every level permits: present to read, R/W to write, U/S to be used at all', () => {
    const { guest, tables, region } = world(levels);
    tables.map(0x12345, 1, 0x77, USER_RW);
    const kinds = [0b111, 0b101, 0b011, 0b110];
    const wrong: string[] = [];

    for (let combination = 0; combination < 4 ** levels; combination++) {
      let expected: string | undefined;
      let isWritable = true;
      for (let level = levels; level >= 1; level--) {
        const own = kinds[Math.floor(combination / 4 ** (level - 1)) % 4];
        tables.setBits(0x12345, level, BigInt(own), USER_RW);
        if ((own & 1) === 0) expected ??= 'SFS.2';
        if ((own & 4) === 0) expected ??= 'SGN.2';
        isWritable &&= (own & 2) !== 0;
      }
      const leaf = leafText(0x12345, 1, 0x77, isWritable ? 3 : 1);
      const asked = expected === 'SFS.2' ? '-' : (expected ?? leaf);
      const wanted = [asked, expected ?? leaf, expected ?? (isWritable ? leaf : 'SGN.6')];
      const seen = [Access.None, Access.Read, Access.Write].map((access) =>
        translated(region, 0x12345, access),
      );
      if (seen.join() !== wanted.join()) wrong.push(`${combination.toString(4)}: ${seen.join()}`);
    }

    expect(wrong).toEqual([]);
    // Reads succeed where P and U/S are set everywhere, writes where R/W is too.
    expect(takeFaults(guest)).toHaveLength(2 * 4 ** levels - 2 ** levels - 1);
  });

  it('walk the leaves that a user request may use', () => {
    const { tables, region } = world(levels);
    tables.map(0x10, 1, 0x77, 0b111n);
    tables.map(0x11, 1, 0x78, 0b101n);
    tables.map(0x12, 1, 0x79, 0b011n);
    tables.map(0x13, 1, 0x7a, 0b110n);

    const { leaves, faults } = walked(region);

    expect(leaves).toEqual([leafText(0x10, 1, 0x77, 3), leafText(0x11, 1, 0x78, 1)]);
    expect(faults).toEqual(['12+1 SGN.2']);
  });
});

describe('reserved bits of first-stage entries (VT-d 9.7)', () => {
  const IOVA = 3 * spanOf(3);

  function withLeaf(level: number, haw: number): World {
    const made = world(5, {}, haw);
    made.tables.map(IOVA, level, 0, USER_RW);
    return made;
  }

  it.each([39, 46, 52])('in leaves of 4 KiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(withLeaf(1, haw), IOVA, 1, 'SFS.3')).toEqual(bits(51, haw));
  });

  it.each([39, 46, 52])('in leaves of 2 MiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(withLeaf(2, haw), IOVA, 2, 'SFS.3')).toEqual([...bits(20, 13), ...bits(51, haw)]);
  });

  it.each([39, 46, 52])('in leaves of 1 GiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(withLeaf(3, haw), IOVA, 3, 'SFS.3')).toEqual([...bits(29, 13), ...bits(51, haw)]);
  });

  it.each([4, 5])('in entries of level %i, where PS can be no leaf', (level) => {
    expect(faultingBits(withLeaf(1, 46), IOVA, level, 'SFS.3')).toEqual([7, ...bits(51, 46)]);
  });

  it('in a 1 GiB leaf where the unit has none', () => {
    const { tables, region } = world(4, { FS1GP: false });
    tables.map(IOVA, 3, 0, USER_RW);
    tables.map(0x200, 2, 0, USER_RW);

    expect(translated(region, IOVA)).toBe('SFS.3');
    expect(walked(region).leaves).toEqual([leafText(0x200, 0x200, 0, 3)]);
  });

  it('do not matter in an entry that is not present', () => {
    const { tables, region } = withLeaf(1, 46);
    tables.setEntry(IOVA, 1, (1n << 64n) - 2n);

    expect(translated(region, IOVA, Access.Read)).toBe('SFS.2');
  });

  it('come before U/S', () => {
    const { tables, region } = withLeaf(1, 46);
    tables.setEntry(IOVA, 1, (1n << 50n) | 0b011n);

    expect(translated(region, IOVA)).toBe('SFS.3');
  });
});

describe('a large first-stage leaf', () => {
  it.each([2, 3])('of level %i keeps PAT in bit 12, which is no part of its address', (level) => {
    const { tables, region } = world(4);
    const pages = spanOf(level);
    for (let i = 0; i < 4; i++)
      tables.map(i * pages, level, 4 * pages + i * pages, USER_RW | (BigInt(i & 1) << 12n));
    const leaves = [0, 1, 2, 3].map((i) => leafText(i * pages, pages, 4 * pages + i * pages, 3));

    expect(walked(region).leaves).toEqual(leaves);
    expect([0, 1, 2, 3].map((i) => translated(region, i * pages + 1))).toEqual(leaves);
  });
});

describe('the guest address width', () => {
  it('does not limit first-stage input (VT-d 3.6)', () => {
    const { tables, region } = world(4, { MGAW: 39 });
    tables.map(2 ** 35 - 1, 1, 0x77, USER_RW);

    expect(translated(region, 2 ** 35 - 1, Access.Read)).toBe(leafText(2 ** 35 - 1, 1, 0x77, 3));
  });
});

describe('tables outside RAM', () => {
  it('are SFS.4 at the top and SFS.1 below', () => {
    const { guest, tables, region } = world(4);
    for (const level of [2, 3, 4]) tables.setEntry(spanOf(level), level, (0x20000n << 12n) | USER_RW);
    const lower = [2, 3, 4].map((level) => translated(region, spanOf(level), Access.Read));
    const lowerFaults = walked(region).faults;
    guest.scalable({ pgtt: 0b001, firstStage: 0x20000 });

    expect(lower).toEqual(['SFS.1', 'SFS.1', 'SFS.1']);
    expect(lowerFaults).toEqual(['200+200 SFS.1', '40000+40000 SFS.1', '8000000+8000000 SFS.1']);
    expect(translated(region, 0, Access.Read)).toBe('SFS.4');
  });
});
