import { describe, expect, it } from 'vitest';
import { ALL_PAGES } from '../../src/memory/index.ts';
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
});
