import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import type { Capability } from '../../../src/models/vtd/spec/index.ts';
import type { VtdRegion } from '../../../src/models/vtd/vtd-region.ts';
import { leafText, translated, walked } from './observe.ts';
import { Guest, SCALABLE_CAPABILITY } from './table-builder.ts';
import { PS, spanOf, TableTree } from './table-tree.ts';

const RW = 0b11n;
const IOVA = 3 * spanOf(3);
const LEVELS = 5;

interface World {
  readonly tables: TableTree;
  readonly region: VtdRegion;
}

/** A leaf of `leafLevel` below tables of every other level. */
function world(leafLevel: number, haw: number, capability: Partial<Capability> = {}): World {
  const guest = new Guest({ haw, capability: { SAGAW: 0b1110, MGAW: 57, ...capability } });
  const tables = new TableTree(guest, LEVELS);
  tables.map(IOVA, leafLevel, 0, RW);
  guest.legacy({ root: tables.root, aw: LEVELS - 2 });
  return { tables, region: guest.region() };
}

/** The bits that turn the entry of `level` into a fault `condition`, when set in addition to those it has. */
function faultingBits({ tables, region }: World, level: number, condition: string): number[] {
  const sound = tables.getEntry(IOVA, level);
  const bits: number[] = [];
  for (let bit = 0; bit < 64; bit++) {
    tables.setEntry(IOVA, level, sound | (1n << BigInt(bit)));
    if (translated(region, IOVA) === condition) bits.push(bit);
    tables.setEntry(IOVA, level, sound);
  }
  return bits;
}

/** Bits `msb` to `lsb`, ascending. */
function bits(msb: number, lsb: number): number[] {
  return Array.from({ length: msb - lsb + 1 }, (_, i) => lsb + i);
}

describe('reserved bits of second-stage entries (VT-d 9.8)', () => {
  it.each([39, 46, 52])('in leaves of 4 KiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(world(1, haw), 1, 'LSS.2')).toEqual([11, ...bits(51, haw), 62]);
  });

  it.each([39, 46, 52])('in leaves of 2 MiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(world(2, haw), 2, 'LSS.2')).toEqual([11, ...bits(20, 12), ...bits(51, haw), 62]);
  });

  it.each([39, 46, 52])('in leaves of 1 GiB with %i-bit host addresses', (haw) => {
    expect(faultingBits(world(3, haw), 3, 'LSS.2')).toEqual([11, ...bits(29, 12), ...bits(51, haw), 62]);
  });

  it.each([4, 5])('in entries of level %i, where PS can be no leaf', (level) => {
    expect(faultingBits(world(1, 46), level, 'LSS.2')).toEqual([7, 11, ...bits(51, 46), 62]);
  });

  it.each([2, 3])('in entries of level %i that name tables, where PS makes them leaves', (level) => {
    const { tables, region } = world(1, 46);
    // With PS the address of the table becomes that of a leaf that is not aligned.
    expect(faultingBits({ tables, region }, level, 'LSS.2')).toEqual([7, 11, ...bits(51, 46), 62]);
  });

  it.each([1, 2, 3])('leave SNP to leaves of level %i where the unit controls snooping', (level) => {
    expect(faultingBits(world(level, 46, { SC: true }), level, 'LSS.2')).not.toContain(11);
  });

  it('keep SNP out of entries that name tables even there', () => {
    expect(faultingBits(world(1, 46, { SC: true }), 2, 'LSS.2')).toContain(11);
  });

  it('leave TM to leaves where the unit has device-TLBs', () => {
    expect(faultingBits(world(1, 46, { DT: true }), 1, 'LSS.2')).not.toContain(62);
  });

  it.each([1, 2, 3, 4, 5])('have a name of their own in scalable mode at level %i', (level) => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY });
    const tables = new TableTree(guest, LEVELS);
    tables.map(IOVA, 1, 0, RW);
    guest.scalable({ secondStage: tables.root, aw: 3 });

    expect(faultingBits({ tables, region: guest.region() }, level, 'SSS.3')).toContain(62);
  });

  it('do not matter in an entry that permits nothing', () => {
    const { tables, region } = world(1, 46);
    tables.setEntry(IOVA, 1, ~RW & ((1n << 64n) - 1n));

    expect(translated(region, IOVA, Access.Read)).toBe('LGN.3');
  });

  it('hide only the entry that has them', () => {
    const { tables, region } = world(1, 46);
    tables.map(IOVA + 1, 1, 0x40, RW | (1n << 62n));
    tables.map(IOVA + 2, 1, 0x42, RW);

    const { leaves, faults, report } = walked(region);

    expect(leaves).toEqual([leafText(IOVA, 1, 0, 3), leafText(IOVA + 2, 1, 0x42, 3)]);
    expect(faults).toEqual([`${(IOVA + 1).toString(16)}+1 LSS.2`]);
    expect(report.faultCount).toBe(1);
  });
});

describe('SSLPS', () => {
  const OFFERS = [
    { SSLPS: 0b00, outcomes: ['LSS.2', 'LSS.2'] },
    { SSLPS: 0b01, outcomes: [leafText(0x200, 0x200, 0x400, 3), 'LSS.2'] },
    { SSLPS: 0b10, outcomes: ['LSS.2', leafText(0x40000, 0x40000, 0x80000, 3)] },
    { SSLPS: 0b11, outcomes: [leafText(0x200, 0x200, 0x400, 3), leafText(0x40000, 0x40000, 0x80000, 3)] },
  ] as const;

  it.each(OFFERS)('$SSLPS decides whether leaves of 2 MiB and of 1 GiB can be', ({ SSLPS, outcomes }) => {
    const { tables, region } = world(1, 46, { SSLPS });
    tables.map(0x200, 2, 0x400, RW);
    tables.map(0x40000, 3, 0x80000, RW);

    expect([translated(region, 0x200), translated(region, 0x40000)]).toEqual(outcomes);
    expect(walked(region, { start: 0, end: 0x80000 }).leaves).toEqual(
      outcomes.filter((text) => text !== 'LSS.2'),
    );
  });
});

describe('tables outside RAM', () => {
  it('are LCT.4 at the top and LSS.1 below in legacy mode', () => {
    const guest = new Guest({ capability: { SAGAW: 0b1110, MGAW: 57 } });
    const tables = new TableTree(guest, LEVELS);
    for (let level = 2; level <= LEVELS; level++)
      tables.setEntry(spanOf(level), level, (0x20000n << 12n) | RW);
    const { context } = guest.legacy({ root: tables.root, aw: 3 });
    const region = guest.region();

    const lower = [2, 3, 4, 5].map((level) => translated(region, spanOf(level)));
    guest.setContext(context, { root: 0x20000, aw: 3 });

    expect(lower).toEqual(['LSS.1', 'LSS.1', 'LSS.1', 'LSS.1']);
    expect(translated(region, 0)).toBe('LCT.4');
    expect(walked(region).faults).toEqual([`0+${spanOf(6).toString(16)} LCT.4`]);
  });

  it('are SSS.4 at the top and SSS.1 below in scalable mode', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY });
    const tables = new TableTree(guest, 4);
    tables.setEntry(0x200, 2, (0x20000n << 12n) | RW);
    const { table } = guest.scalable({ secondStage: tables.root });
    const region = guest.region();

    const lower = translated(region, 0x200);
    guest.setPasid(table, 0, { secondStage: 0x20000 });

    expect(lower).toBe('SSS.1');
    expect(translated(region, 0)).toBe('SSS.4');
  });

  it('hide what they would translate from a walk, and no more', () => {
    const guest = new Guest();
    const tables = new TableTree(guest, 4);
    tables.map(0x1ff, 1, 0x77, RW);
    tables.setEntry(0x200, 2, (0x20000n << 12n) | RW);
    tables.map(0x400, 2, 0x600, RW);
    guest.legacy({ root: tables.root });

    const { leaves, faults } = walked(guest.region());

    expect(leaves).toEqual([leafText(0x1ff, 1, 0x77, 3), leafText(0x400, 0x200, 0x600, 3)]);
    expect(faults).toEqual(['200+200 LSS.1']);
  });
});

describe('a leaf of 4 KiB', () => {
  it('ignores PS', () => {
    const { tables, region } = world(1, 46);
    tables.setEntry(IOVA, 1, (0x77n << 12n) | PS | RW);

    expect(translated(region, IOVA)).toBe(leafText(IOVA, 1, 0x77, 3));
  });
});
