import { describe, expect, it } from 'vitest';
import { ALL_PAGES, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { plugged, RAM_PAGES, regionWorld } from '../support/region-world.ts';

describe('isWrite', () => {
  it('leaves out what does not allow writing', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 1);
    tables.map(2, 2, 2);
    tables.map(3, 3, 3);

    expect(plugged(region, { isWrite: true }).list).toEqual(['2+1>2 w', '3+1>3 rw']);
  });

  it('leaves it out later, too', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const sink = plugged(region, { isWrite: true });

    tables.map(1, 1, 1);
    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['unmap 1+1']);
  });

  it('tells what lies in ROM as a mapping that no memory fits', () => {
    const { region, tables, root } = regionWorld();
    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 7, 1);
    tables.map(1, 7, 3);

    expect(plugged(region, { isWrite: true }).list).toEqual(['1+1>7 rw!']);
  });
});

describe('the target of a mapping', () => {
  it('that is no RAM is told as such', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 0xe0000, 3);

    expect(plugged(region).held).toEqual([{ iova: 1, pages: 1, target: 0xe0000, access: 3, ram: false }]);
  });

  it('is told in pieces where RAM ends within a leaf', () => {
    const { region, tables } = regionWorld();
    tables.map(0x40000, 0x40000, 3, 3);
    tables.map(0x80000, 0x80000, 3, 3);

    expect(plugged(region).held).toEqual([
      { iova: 0x40000, pages: 0x40000, target: 0x40000, access: 3, ram: true },
      { iova: 0x80000, pages: 0x40000, target: RAM_PAGES, access: 3, ram: false },
    ]);
  });

  it('in ROM is told as read-only, and for writing alone as one that no memory fits', () => {
    const { region, tables, root } = regionWorld();
    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 7, 1);
    tables.map(1, 7, 3);
    tables.map(2, 7, 2);

    expect(plugged(region).list).toEqual(['1+1>7 r', '2+1>7 w!']);
  });
});
