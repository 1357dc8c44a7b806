import { describe, expect, it } from 'vitest';
import { DeviceRegion, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { plugged, RAM_PAGES, regionWorld } from '../support/region-world.ts';
import { spanOf } from '../support/table-writer.ts';

describe('RAM that comes and goes', () => {
  it('turns a mapping onto a hole into one of RAM', () => {
    const { region, tables, root } = regionWorld();
    tables.map(5, 0xe0000, 3);
    const sink = plugged(region);

    root.add(new RamRegion('dimm', new SparseRamBlock(16)), 0xe0000);

    expect(sink.held).toEqual([{ iova: 5, pages: 1, target: 0xe0000, access: 3, ram: true }]);
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

    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 6, 1);

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

  it('leaves mappings of its neighbours alone', () => {
    const { region, tables, root } = regionWorld();
    const dimm = new RamRegion('dimm', new SparseRamBlock(16));
    root.add(dimm, RAM_PAGES);
    root.add(new RamRegion('next', new SparseRamBlock(16)), RAM_PAGES + 16);
    tables.map(1, RAM_PAGES - 1, 3);
    tables.map(2, RAM_PAGES + 16, 3);
    const sink = plugged(region);

    root.remove(dimm);

    expect(sink.log).toEqual([]);
  });

  it('takes back mappings also where the model cannot serve the sink any more', () => {
    const { region, tables, ram } = regionWorld();
    tables.map(5, 6, 3);
    const sink = plugged(region);
    region.remedy = 'the guest uses first-stage tables';

    ram[0].setEnabled(false);

    expect(sink.log).toEqual(['unmap 5+1']);
    expect(sink.incompletes.map(({ kind }) => kind)).toEqual(['unsupported']);
  });

  it('costs no walk when only devices come and go after it', () => {
    const { region, root } = regionWorld();
    plugged(region);
    root.add(new RamRegion('dimm', new SparseRamBlock(16)), 0xe0000);
    region.entriesRead = 0;

    root.add(new DeviceRegion('bar', 1, { read: () => true, write: () => true }), 0xe1000);

    expect(region.entriesRead).toBe(0);
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

describe('a leaf that the memory behind it cuts into pieces', () => {
  it.each([
    ['first', 1],
    ['middle', 101],
    ['last', 300],
  ])('goes as a whole when a page of its %s piece is invalidated', (_which, page) => {
    const { region, tables, root } = regionWorld();
    root.add(new DeviceRegion('bar', 2, { read: () => true, write: () => true }), 100, 1);
    tables.map(0, 0, 3, 2);
    tables.map(512, 512, 3, 2);
    const sink = plugged(region);
    tables.clear(0, 2);
    tables.clear(512, 2);

    region.invalidate({ start: page, end: page + 1 });

    expect(sink.log).toEqual(['unmap 0+100', 'unmap 100+2', 'unmap 102+410']);
  });

  it('stays as it is when it did not change', () => {
    const { region, tables, root } = regionWorld();
    root.add(new DeviceRegion('bar', 2, { read: () => true, write: () => true }), 100, 1);
    tables.map(0, 0, 3, 2);
    const sink = plugged(region);

    region.invalidate({ start: 101, end: 102 });

    expect(sink.log).toEqual([]);
  });
});
