import { describe, expect, it } from 'vitest';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { Hearer } from '../support/hearer.ts';
import { plugged, regionWorld } from '../support/region-world.ts';

describe('a cache', () => {
  it('hears of an invalidation as wide as it was, within its own range', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap', { start: 10, end: 20 });
    region.registerNotifier(cache);

    region.invalidate({ start: 5, end: 15 });

    expect(cache.log).toEqual(['unmap 10+5']);
  });

  it('hears nothing of an invalidation beside its range', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap', { start: 10, end: 20 });
    region.registerNotifier(cache);

    region.invalidate({ start: 20, end: 30 });

    expect(cache.log).toEqual([]);
  });

  it('hears of everything up to 2^64', () => {
    const { region } = regionWorld();
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);

    region.invalidate(ALL_PAGES);

    expect(cache.log).toEqual([`unmap 0+${2 ** 52}`]);
  });

  it('that throws does not keep a shadow from following', () => {
    const { region, tables } = regionWorld();
    const cache = new Hearer('unmap');
    cache.hook = () => {
      throw new Error('broken');
    };
    region.registerNotifier(cache);
    const sink = plugged(region);
    tables.map(5, 5, 3);

    region.invalidate(ALL_PAGES);

    expect(sink.list).toEqual(['5+1>5 rw']);
    expect(cache.incompletes.map(({ kind }) => kind)).toEqual(['sink-failed']);
  });
});

describe('a device with a translation cache of its own', () => {
  it('hears of invalidations of that cache only', () => {
    const { region } = regionWorld();
    const device = new Hearer('device-iotlb-unmap');
    region.registerNotifier(device);

    region.invalidate({ start: 1, end: 2 });
    region.invalidateDeviceIotlb({ start: 5, end: 7 }, 0);

    expect(device.log).toEqual(['unmap 5+2']);
  });

  it('hears of its own index only', () => {
    const { region } = regionWorld();
    const device = new Hearer('device-iotlb-unmap', ALL_PAGES, 3);
    region.registerNotifier(device);

    region.invalidateDeviceIotlb({ start: 5, end: 7 }, 0);
    region.invalidateDeviceIotlb({ start: 8, end: 9 }, 3);

    expect(device.log).toEqual(['unmap 8+1']);
  });

  it('does not make a cache or a shadow hear of it', () => {
    const { region, tables } = regionWorld();
    const cache = new Hearer('unmap');
    region.registerNotifier(cache);
    const sink = plugged(region);
    tables.map(5, 5, 3);

    region.invalidateDeviceIotlb(ALL_PAGES, 0);

    expect([cache.log, sink.log]).toEqual([[], []]);
  });
});

describe('an index', () => {
  it('has its own table', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    tables.map(1, 1, 3);
    other.map(2, 2, 3);

    expect(plugged(region, { index: 7 }).list).toEqual(['2+1>2 rw']);
  });

  it('is followed by an invalidation that names it, and no other is', () => {
    const { region, tables, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    const [plain, tagged] = [plugged(region), plugged(region, { index: 7 })];
    tables.map(1, 1, 3);
    other.map(2, 2, 3);

    region.invalidate(ALL_PAGES, 7);

    expect([plain.list, tagged.list]).toEqual([[], ['2+1>2 rw']]);
  });

  it('is followed by an invalidation that names none', () => {
    const { region, moreTables } = regionWorld();
    const other = moreTables();
    region.tables.set(7, other);
    const tagged = plugged(region, { index: 7 });
    other.map(2, 2, 3);

    region.invalidate(ALL_PAGES);

    expect(tagged.list).toEqual(['2+1>2 rw']);
  });
});
