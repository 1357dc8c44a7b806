import { describe, expect, it } from 'vitest';
import { Access, PAGES_END } from '../../src/memory/index.ts';
import { ACCESS_FAULT, NOT_PRESENT_FAULT } from '../support/radix-region.ts';
import { regionWorld } from '../support/region-world.ts';
import { P, PS, RESERVED_FAULT } from '../support/test-format.ts';

describe('translate', () => {
  it('gives the leaf that covers the address', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 1024, 1, 2);

    expect(region.translate(0x201abcn, Access.Read)).toEqual({
      iova: 512,
      pages: 512,
      target: 1024,
      access: 1,
    });
  });

  it('gives the last page of 64 bits', () => {
    const { region, tables } = regionWorld({ top: true });
    tables.map(PAGES_END - 1, 9, 3);

    expect(region.translate(0xffff_ffff_ffff_ffffn, Access.Write).target).toBe(9);
  });

  it.each([
    ['nothing is mapped', 0x1000n, Access.Read, NOT_PRESENT_FAULT],
    ['writing is not allowed', 0x5000n, Access.Write, ACCESS_FAULT],
    ['the tables are wrong', 0x6000n, Access.Read, RESERVED_FAULT],
  ])('gives the fault where %s', (_why, iova, access, fault) => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 1);
    tables.setEntry(tables.tableAt(0, 1), 6, P | PS);

    expect(region.translate(iova, access).fault).toEqual(fault);
  });

  it('asks without an access what is allowed', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 1);

    const answers = [0x5000n, 0x6000n].map((iova) => region.translate(iova, Access.None));

    expect(answers.map(({ access, fault }) => [access, fault])).toEqual([
      [Access.Read, undefined],
      [Access.None, undefined],
    ]);
  });

  it('refuses an address beyond the region', () => {
    const { region } = regionWorld({ levels: 3 });

    expect(() => region.translate(1n << 39n, Access.Read)).toThrow(
      /0x8000000000 lies beyond region test-iommu/,
    );
  });

  it.each([-1n, 1n << 64n])('refuses %d, which is no address', (iova) => {
    expect(() => regionWorld().region.translate(iova, Access.Read)).toThrow(RangeError);
  });

  it('has a table for each index', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(3, other);
    tables.map(5, 5, 3);
    other.map(5, 6, 3);

    const targets = [0, 3, 0].map((index) => region.translate(0x5000n, Access.Read, index).target);

    expect(targets).toEqual([5, 6, 5]);
  });
});

describe('what the IOTLB remembers', () => {
  it('is used until the guest invalidates it', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.Read);
    tables.map(5, 6, 3);

    const before = region.translate(0x5000n, Access.Read).target;
    region.invalidate({ start: 5, end: 6 });
    const after = region.translate(0x5000n, Access.Read).target;

    expect([before, after]).toEqual([5, 6]);
  });

  it('is not used where the region was made without it', () => {
    const { region, tables } = regionWorld({ iotlb: false });
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.Read);
    tables.map(5, 6, 3);

    expect(region.translate(0x5000n, Access.Read).target).toBe(6);
  });

  it('is never a fault', () => {
    const { region, tables } = regionWorld();
    region.translate(0x5000n, Access.Read);
    tables.map(5, 5, 3);

    expect(region.translate(0x5000n, Access.Read).target).toBe(5);
  });

  it('of a read does not let a write pass without a walk', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.Read);
    tables.map(5, 6, 3);

    expect(region.translate(0x5000n, Access.Write).target).toBe(6);
  });

  it('of a write lets a read pass', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.Write);
    tables.map(5, 6, 3);

    expect(region.translate(0x5000n, Access.Read).target).toBe(5);
  });

  it('of a read does not hide from who asks that writing is allowed', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.Read);

    expect(region.translate(0x5000n, Access.None).access).toBe(Access.ReadWrite);
  });

  it('is not changed by who only asks', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    region.translate(0x5000n, Access.None);
    tables.map(5, 6, 3);

    expect(region.translate(0x5000n, Access.Read).target).toBe(6);
  });

  it('of every index goes with an invalidation of one', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(3, other);
    other.map(5, 5, 3);
    tables.map(5, 7, 3);
    region.translate(0x5000n, Access.Read, 3);
    other.map(5, 6, 3);

    region.invalidate({ start: 0, end: 100 }, 0);

    expect(region.translate(0x5000n, Access.Read, 3).target).toBe(6);
  });
});
