import { describe, expect, it } from 'vitest';
import { ALL_PAGES, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { plugged, regionWorld } from '../support/region-world.ts';
import { StrictSink } from '../support/strict-sink.ts';

describe('from inside notify()', () => {
  it('another notifier registers and hears of everything once', () => {
    const { region, tables } = regionWorld();
    const first = plugged(region);
    const second = new StrictSink();
    first.hook = () => {
      first.hook = undefined;
      region.registerNotifierReplay(second, 4096n, false);
    };
    tables.map(5, 5, 3);
    tables.map(6, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(second.log).toEqual(['map 5+1', 'map 6+1']);
    expect(first.list).toEqual(['5+1>5 rw', '6+1>6 rw']);
  });

  it('another notifier is unregistered and hears no more than that', () => {
    const { region, tables } = regionWorld();
    tables.map(5, 5, 3);
    const [first, second] = [plugged(region), plugged(region)];
    first.hook = () => region.unregisterNotifier(second);
    tables.map(6, 6, 3);

    region.invalidate(ALL_PAGES);

    expect(second.log).toEqual(['unmap 5+1']);
  });

  it('a shadow unregisters itself at a map and is told that all before is gone', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.hook = ({ op, iova }) => {
      if (op !== 'map' || iova !== 2) return true;
      region.unregisterNotifier(sink);
      return false;
    };
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['map 0+1', 'map 1+1', 'map 2+1', 'unmap 0+1', 'unmap 1+1']);
    expect(sink.held).toEqual([]);
    expect(region.notifiers).toEqual([]);
  });

  it('a shadow unregisters itself at an unmap and hears of nothing that came instead', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    sink.hook = () => region.unregisterNotifier(sink);
    for (let i = 0; i < 3; i++) tables.map(i, i + 10, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual(['unmap 0+1', 'unmap 1+1', 'unmap 2+1']);
    expect(sink.violations).toEqual([]);
    expect(region.notifiers).toEqual([]);
  });

  it('a shadow that comes back while it is told of its end is rid of everything first', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    sink.takeLog();
    sink.hook = () => {
      sink.hook = undefined;
      region.registerNotifierReplay(sink, 4096n, false);
    };

    region.unregisterNotifier(sink);

    expect(sink.violations).toEqual([]);
    expect(sink.log).toEqual(['unmap 0+1', 'unmap 1+1', 'unmap 2+1', 'map 0+1', 'map 1+1', 'map 2+1']);
    expect(region.notifiers).toEqual([sink]);
  });

  it('the event stays what it was when the shadow unregisters itself', () => {
    const { region, tables } = regionWorld();
    for (let i = 0; i < 5; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    let after = '';
    sink.hook = (event) => {
      if (event.op !== 'map') return true;
      region.unregisterNotifier(sink);
      after = `${event.op} ${event.iova}`;
      return false;
    };
    tables.map(9, 9, 3);

    region.invalidate(ALL_PAGES);

    expect(after).toBe('map 9');
  });

  it('an invalidation takes place after the one under way', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.hook = () => {
      sink.hook = undefined;
      tables.map(1, 1, 3);
      region.invalidate({ start: 1, end: 2 });
    };
    tables.map(5, 5, 3);
    tables.map(6, 6, 3);

    region.invalidate({ start: 5, end: 7 });

    expect(sink.log).toEqual(['map 5+1', 'map 6+1', 'map 1+1']);
    expect(sink.violations).toEqual([]);
  });

  it('several invalidations take place, whatever lies between them', () => {
    const { region, tables } = regionWorld();
    const sink = plugged(region);
    sink.hook = () => {
      sink.hook = undefined;
      for (const page of [50, 1, 900]) {
        tables.map(page, page, 3);
        region.invalidate({ start: page, end: page + 1 });
      }
    };
    tables.map(500, 5, 3);

    region.invalidate({ start: 500, end: 501 });

    expect(sink.log).toEqual(['map 500+1', 'map 1+1', 'map 50+1', 'map 900+1']);
  });

  it('RAM is taken away and what follows is told as what it is then', () => {
    const { region, tables, ram } = regionWorld();
    const sink = new StrictSink();
    sink.hook = () => {
      sink.hook = undefined;
      ram[0].setEnabled(false);
    };
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['0+1>0 rw!', '1+1>1 rw!', '2+1>2 rw!']);
    expect(sink.log).toEqual(['map 0+1', 'unmap 0+1', 'map 0+1', 'map 1+1', 'map 2+1']);
    expect(sink.violations).toEqual([]);
  });

  it('RAM is replaced and what was told of the old one is told anew', () => {
    const { region, tables, root, ram, topology } = regionWorld();
    const sink = new StrictSink();
    sink.hook = ({ iova }) => {
      if (iova !== 1) return;
      sink.hook = undefined;
      topology.transaction(() => {
        root.remove(ram[0]);
        root.add(new RamRegion('other', new SparseRamBlock(ram[0].pages)), 0);
      });
    };
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.log).toEqual([
      'map 0+1',
      'map 1+1',
      'unmap 0+1',
      'unmap 1+1',
      'map 0+1',
      'map 1+1',
      'map 2+1',
    ]);
    expect(sink.violations).toEqual([]);
  });

  it('RAM is taken away and something is invalidated, and both are heeded', () => {
    const { region, tables, ram } = regionWorld();
    const sink = new StrictSink();
    sink.hook = () => {
      sink.hook = undefined;
      ram[0].setEnabled(false);
      region.invalidate({ start: 0, end: 1 });
    };
    for (let i = 0; i < 3; i++) tables.map(i, i, 3);

    region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['0+1>0 rw!', '1+1>1 rw!', '2+1>2 rw!']);
  });

  it('an invalidation takes place after mappings of RAM that is gone are taken back', () => {
    const { region, tables, ram } = regionWorld();
    for (let i = 0; i < 4; i++) tables.map(i, i, 3);
    const sink = plugged(region);
    for (let i = 1; i < 4; i++) tables.clear(i);
    sink.hook = () => {
      sink.hook = undefined;
      region.invalidate(ALL_PAGES);
    };

    ram[0].setEnabled(false);

    expect(sink.log).toEqual(['unmap 0+1', 'unmap 1+1', 'unmap 2+1', 'unmap 3+1', 'map 0+1']);
    expect(sink.violations).toEqual([]);
  });
});
