import { describe, expect, it } from 'vitest';
import { ALL_PAGES, DeviceRegion, PAGES_END, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { spanOf } from '../support/table-writer.ts';

describe('an invalidation', () => {
  it('of something that did not change sends nothing and reads each entry once', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 1000; i++) tables.map(i * 7, i, 3);
    const sink = plugged(region);
    region.entriesRead = 0;

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual([]);
    // The two edges are looked at for what reaches over them: a page each, so at most an entry a level.
    expect(region.entriesRead).toBeLessThanOrEqual(tables.tables * 512 + 2 * tables.levels);
  });

  it('of one page reads an entry a level for the page and its edges', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 1000; i++) tables.map(i * 7, i, 3);
    plugged(region);
    region.entriesRead = 0;

    region.invalidate({ start: 7, end: 8 });

    expect(region.entriesRead).toBeLessThanOrEqual(3 * tables.levels);
  });

  it('touches nothing outside its range', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 0; i < 10; i++) tables.clear(i);

    region.invalidate({ start: 4, end: 6 });

    expect(sink.log).toEqual(['unmap 4+1', 'unmap 5+1']);
  });

  it('that is empty does nothing', () => {
    const { region, tables } = regionWorld();
    tables.map(4, 4, 3);
    const sink = plugged(region);
    tables.clear(4);

    region.invalidate({ start: 4, end: 4 });

    expect(sink.log).toEqual([]);
  });

  it('within a leaf that is gone removes the whole of it', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);
    tables.clear(512, 2);

    region.invalidate({ start: 700, end: 701 });

    expect(sink.log).toEqual(['unmap 512+512']);
  });

  it('of one page of a large leaf that became a table removes the other pages, too', () => {
    const { region, tables } = regionWorld();
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);
    tables.clear(512, 2);
    tables.map(520, 99, 3);

    region.invalidate({ start: 520, end: 521 });

    expect(sink.list).toEqual(['520+1>99 rw']);
    expect(sink.log).toEqual(['unmap 512+512', 'map 520+1']);
  });

  it('of one page of a table that became a large leaf maps all of the leaf', () => {
    const { region, tables } = regionWorld();
    for (const page of [512, 700, 1023]) tables.map(page, page, 3);
    const sink = plugged(region);
    tables.map(512, 2048, 3, 2);

    region.invalidate({ start: 700, end: 701 });

    expect(sink.log).toEqual(['unmap 512+1', 'unmap 700+1', 'unmap 1023+1', 'map 512+512']);
  });

  it('replaces a 1 GiB leaf by the 2 MiB leaves that it was split into', () => {
    const { region, tables } = regionWorld();
    tables.map(0, 0, 3, 3);
    const sink = plugged(region);
    for (let i = 0; i < 512; i++) tables.map(i * 512, i * 512, 3, 2);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.held).toHaveLength(512);
    expect(sink.log).toHaveLength(513);
    expect(sink.violations).toEqual([]);
  });

  it.each([
    ['permissions', 5, 1],
    ['target', 6, 3],
  ])('tells of a change of %s as an unmap and a map', (_what, target, access) => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const sink = plugged(region);
    tables.map(5, target, access);

    region.invalidate({ start: 5, end: 6 });

    expect(sink.log).toEqual(['unmap 5+1', 'map 5+1']);
  });

  it('up to 2^64 follows the last page', () => {
    const { region, tables } = regionWorld({ levels: 4, top: true });
    tables.map(PAGES_END - 1, 7, 3);
    const sink = plugged(region);
    tables.map(PAGES_END - 1, 8, 3);

    region.invalidate({ start: PAGES_END - 1, end: PAGES_END });

    expect(sink.list).toEqual([`${PAGES_END - 1}+1>8 rw`]);
  });

  it('heals what an invalidation that was too narrow left behind', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 4; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 0; i < 4; i++) tables.map(i, i + 10, 3);
    region.invalidate({ start: 1, end: 2 });

    region.invalidate(ALL_PAGES);

    expect(sink.list).toEqual(['0+1>10 rw', '1+1>11 rw', '2+1>12 rw', '3+1>13 rw']);
  });
});

describe('a domain switch', () => {
  it('unmaps everything before it maps anything, so that a full sink has room', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    for (let i = 0; i < 1000; i++) {
      tables.map(i * 3, i, 3);
      other.map(i * 3 + 1, i, 3);
    }
    const sink = plugged(region);
    sink.capacity = 1000;
    region.tables.set(0, other);

    region.invalidate(ALL_PAGES);

    expect(sink.peak).toBe(1000);
    expect(sink.held.map(({ iova }) => iova)).toEqual(Array.from({ length: 1000 }, (_, i) => i * 3 + 1));
    expect(sink.incompletes).toEqual([]);
  });

  it('leaves alone what both domains map in the same way', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    for (let i = 0; i < 10; i++) {
      tables.map(i, i, 3);
      other.map(i, i === 4 ? 99 : i, 3);
    }
    const sink = plugged(region);
    region.tables.set(0, other);

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['unmap 4+1', 'map 4+1']);
  });

  it('to no table unmaps everything', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    region.tables.delete(0);

    region.invalidate(ALL_PAGES);

    expect(sink.held).toEqual([]);
    expect(sink.log).toHaveLength(10);
  });
});

describe('the walk budget of a change', () => {
  it('is for each walk: what fits at plug time fits later, too', () => {
    const { region, tables } = regionWorld({ budget: { entries: 2 ** 20, leaves: 600 } });
    for (let i = 0; i < 500; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    tables.map(3, 99, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([]);
    expect(sink.held[3].target).toBe(99);
  });

  it('that is used up is reported, and what was told stays exact', () => {
    const { region, tables } = regionWorld({ budget: { entries: 2 ** 20, leaves: 20 } });
    for (let i = 0; i < 10; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 10; i < 40; i++) tables.map(i, i, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes.map(({ kind }) => kind)).toEqual(['walk-cut']);
    expect(sink.violations).toEqual([]);
    expect(region.ledgerOf(sink)!.size).toBe(sink.held.length);
  });
});

describe('a sink that cannot follow', () => {
  it('is told that its refusal left the change incomplete, and stays registered', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.capacity = 0;
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([
      { kind: 'refused', mapping: { iova: 5, pages: 1, target: 6, access: 3 } },
    ]);
    expect(region.notifiers).toEqual([sink]);
  });

  it('has heard of every unmap of a change before it could refuse a map', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 10; i++) tables.map(i * 2, i, 3);
    const sink = plugged(region);
    sink.capacity = 0;
    for (let i = 0; i < 10; i++) tables.clear(i * 2);
    tables.map(1, 1, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.held).toEqual([]);
  });

  it('is healed by the next invalidation when it can take mappings again', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.capacity = 1;
    for (let i = 0; i < 4; i++) tables.map(i, i, 3);
    region.invalidate(ALL_PAGES);
    sink.capacity = Infinity;

    region.invalidate(ALL_PAGES);

    expect(sink.held).toHaveLength(4);
  });

  it('because it throws does not keep the others from following', () => {
    const { region, tables } = regionWorld();
    const [broken, sound] = [plugged(region), plugged(region)];
    broken.hook = () => {
      throw new Error('the host is gone');
    };
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sound.list).toEqual(['5+1>6 rw']);
    expect(broken.incompletes.map(({ kind }) => kind)).toEqual(['sink-failed']);
  });

  it('because the model cannot serve it any more is told so, and nothing else', () => {
    const { region, tables } = regionWorld();
    tables.map(1, 1, 3);
    const sink = plugged(region);
    region.remedy = 'the guest uses first-stage tables';
    tables.map(5, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.incompletes).toEqual([{ kind: 'unsupported', remedy: 'the guest uses first-stage tables' }]);
    expect(sink.log).toEqual([]);
  });
});

describe('RAM that comes and goes', () => {
  const rom = (): RamRegion => new RamRegion('rom', new SparseRamBlock(1), { readonly: true });

  it('turns a mapping onto a hole into one of RAM', () => {
    const { region, tables, root } = regionWorld();
    tables.map(5, 0xe0000, 3);
    const sink = plugged(region);

    root.add(new RamRegion('dimm', new SparseRamBlock(16)), 0xe0000);

    expect(sink.list).toEqual([`5+1>${0xe0000} rw`]);
    expect(sink.violations).toEqual([]);
  });

  it('takes back mappings of RAM that is gone', () => {
    const { region, tables, ram } = regionWorld();
    tables.map(5, 6, 3);
    const sink = plugged(region);

    ram[0].setEnabled(false);

    expect(sink.list).toEqual(['5+1>6 rw!']);
    expect(sink.log).toEqual(['unmap 5+1', 'map 5+1']);
  });

  it('takes back and tells anew mappings of RAM that other RAM replaces', () => {
    const { region, tables, root, ram, topology } = regionWorld();
    tables.map(5, 6, 3);
    const sink = plugged(region);

    topology.transaction(() => {
      root.remove(ram[0]);
      root.add(new RamRegion('other', new SparseRamBlock(ram[0].pages)), 0);
    });

    expect(sink.list).toEqual(['5+1>6 rw']);
    expect(sink.log).toEqual(['unmap 5+1', 'map 5+1']);
  });

  it('takes write permission away when it becomes ROM', () => {
    const { region, tables, root } = regionWorld();
    tables.map(5, 6, 3);
    const sink = plugged(region);

    root.add(rom(), 6, 1);

    expect(sink.list).toEqual(['5+1>6 r']);
  });

  it('follows leaves that it cuts into pieces and makes whole again', () => {
    const { region, tables, root } = regionWorld();
    tables.map(0, 0, 3, 3);
    const sink = plugged(region);
    const bar = new DeviceRegion('bar', 2, { read: () => true, write: () => true });

    root.add(bar, 100, 1);
    const cut = sink.list;
    root.remove(bar);

    const end = spanOf(3);
    expect(cut).toEqual(['0+100>0 rw', '100+2>100 rw!', `102+${end - 102}>102 rw`]);
    expect(sink.list).toEqual([`0+${end}>0 rw`]);
    expect(sink.violations).toEqual([]);
  });

  it('is of no interest where nothing is mapped', () => {
    const { region, tables, root } = regionWorld();
    tables.map(5, 6, 3);
    const sink = plugged(region);

    root.add(new RamRegion('dimm', new SparseRamBlock(16)), 0xe0000);

    expect(sink.log).toEqual([]);
  });

  it('is of no interest to a device region that moves', () => {
    const { region, tables, root } = regionWorld();
    tables.map(5, 0xe0000, 3);
    const sink = plugged(region);

    root.add(new DeviceRegion('bar', 1, { read: () => true, write: () => true }), 0xe0000);

    expect(sink.log).toEqual([]);
  });

  it('is followed by every sink though one throws', () => {
    const { region, tables, ram } = regionWorld();
    tables.map(5, 6, 3);
    const [broken, sound] = [plugged(region), plugged(region)];
    broken.hook = () => {
      throw new Error('the host is gone');
    };

    ram[0].setEnabled(false);

    expect(sound.list).toEqual(['5+1>6 rw!']);
    expect(broken.incompletes[0]?.kind).toBe('sink-failed');
  });
});
